"""Secrets with which other systems sign what they send, kept for the session service, which verifies by them.

They are the only secrets that leave the store again: sealed to a key that the request brings, so that the bus has them
in clear no more than on their way in. Which of them are in use is decided by the bindings of the session service: it
stores new ones under a new id, names that id in a binding, and then removes the old ones.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from holdfast.bus.ids import new_id, time_of
from holdfast.vault import paths
from holdfast.vault.bodies import SigningKeep, SigningName, SigningOpen
from holdfast.vault.errors import Invalid, Missing, StoreUnavailable, VersionMismatch
from holdfast.vault.store import Store

ORPHAN_AGE_US: Final = 600 * 1_000_000
"""Age from which secrets that no binding names are a remnant of a change that did not finish."""

MAX_SECRETS: Final = 4
"""Secrets of one binding: the new and the old one while they are replaced, and some to spare."""

MAX_SECRET_CHARS: Final = 1024


class SigningSecrets:
    """`now` gives microseconds since 1970, UTC."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self._store = store
        self._now = now

    async def keep(self, tenant: str, body: SigningKeep, plain: bytes) -> dict[str, Any]:
        """Store the secrets of a kind under a new id, and remove old ones that no binding names."""
        await self._clean_up(tenant, body)
        made = new_id("sign")
        try:
            await self._store.put(paths.signing(tenant, body.kind, made), _checked(plain).decode(), 0)
        except VersionMismatch:
            raise StoreUnavailable from None  # a new id has no document, so the store is inconsistent
        return {"id": made}

    async def open(self, tenant: str, body: SigningOpen) -> dict[str, Any]:
        """The secrets, sealed to the public key in the request."""
        found = await self._store.get(paths.signing(tenant, body.kind, body.id))
        if found is None:
            raise Missing("signing secrets")
        try:
            sealed = SealedBox(PublicKey(body.public_key)).encrypt(found.text.encode())
        except (CryptoError, ValueError, TypeError):
            raise Invalid("public_key: is no key") from None
        return {"sealed": sealed}

    async def remove(self, tenant: str, body: SigningName) -> dict[str, Any]:
        """Remove the secrets, if they are there."""
        await self._store.purge(paths.signing(tenant, body.kind, body.id))
        return {"id": body.id}

    async def _clean_up(self, tenant: str, body: SigningKeep) -> None:
        now = self._now()
        for name in await self._store.names(paths.signing_of(tenant, body.kind)):
            if name != body.in_use and now - (time_of(name) or 0) > ORPHAN_AGE_US:
                await self._store.purge(paths.signing(tenant, body.kind, name))


def _checked(plain: bytes) -> bytes:
    try:
        secrets = msgspec.json.decode(plain, type=list[str])
    except msgspec.MsgspecError:
        raise Invalid("secrets: must be a list of texts") from None
    if not 1 <= len(secrets) <= MAX_SECRETS or not all(1 <= len(one) <= MAX_SECRET_CHARS for one in secrets):
        raise Invalid(f"secrets: must be 1 to {MAX_SECRETS} texts of at most {MAX_SECRET_CHARS} characters")
    return plain
