"""Inputs that were set aside: a turn was given up before any harness could take them (rule 23). Pure.

They are kept in the bucket PARKED until an operator releases or drops them (`holdfast parked`). The bytes are those of
the inbox, so that a version without the fault can read what this one could not.
"""

from typing import Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.codec import encode
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.bus.records import decode_record

PARKED: Final = "parked"
"""Name of the bucket."""


class ParkedInput(msgspec.Struct, frozen=True, kw_only=True):
    """One message of an inbox. `parked_at` in microseconds since 1970."""

    v: int = 1
    tenant: str
    session: str
    source: Source
    seq: int
    """Sequence in the inbox stream whose epoch is `inbox`."""
    inbox: str
    parked_at: int
    reason: str
    data: bytes
    """As it was published."""

    @property
    def key(self) -> Key:
        """The session."""
        return Key(self.tenant, self.session)

    @property
    def name(self) -> str:
        """Its key in the bucket."""
        return subjects.parked_key(self.key, self.inbox, self.seq)


def encode_parked(value: ParkedInput) -> bytes:
    """The value of the bucket."""
    return encode(value)


def decode_parked(data: bytes) -> ParkedInput:
    """Raises Damaged if it is none, Newer if it is of a newer version."""
    return decode_record(ParkedInput, data)
