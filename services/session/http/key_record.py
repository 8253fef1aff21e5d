"""What is stored of an API key: in the bucket `keys`, under the SHA-256 of the key. Pure.

A plain hash is right here, as it would not be for passwords: a key is 256 random bits, so there is nothing to guess
and a slow, salted hash would only slow down each request. Keys chosen by people are therefore refused
(MIN_KEY_CHARACTERS). The look-up is by hash, so no comparison runs over secret text and none needs to take constant
time: an attacker could learn from the timing only the prefix of a hash whose input they cannot steer.
"""

import hashlib
from typing import Final

import msgspec

from holdfast.session.http.roles import NARROWED, Role

BUCKET: Final = "keys"

MIN_KEY_CHARACTERS: Final = 32
"""Length of the shortest key that may be installed."""


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The tenant and role of a key. Times in microseconds since 1970."""

    v: int = 2
    """1 if a process of the version before roles, which takes every record for a key with all rights in its tenant,
    gives it no more than the record does; else 2, which such a process refuses. `stored` sets it."""
    tenant: str
    id: str
    name: str
    created: int
    role: Role | None = None
    """None: of a version before roles."""
    created_by: str | None = None
    """Id of the key with which it was made; None: at the start of a service, by HOLDFAST_API_KEY_FILE."""
    revoked_at: int | None = None
    """A revoked key is kept: a service that starts with it in HOLDFAST_API_KEY_FILE must not install it again."""

    @property
    def acts_as(self) -> Role:
        return self.role or "tenant"


def digest(key: str) -> str:
    """The key of the bucket under which an API key is found: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def stored(record: KeyRecord) -> bytes:
    """The record as it is stored, with the version that an older process needs."""
    is_narrowed = record.revoked_at is not None or record.acts_as in NARROWED
    return msgspec.json.encode(msgspec.structs.replace(record, v=2 if is_narrowed else 1))
