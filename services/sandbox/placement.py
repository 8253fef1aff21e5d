"""What workers keep in the `sbx` bucket, and what follows from it. Pure.

w.<worker>   Registration   expires unless refreshed
s.<t>.<s>    Placement      which generation a session has, and where; written under compare-and-set only
c.<call>     Record         a call that was accepted and whose result is not stored yet (rules 13, 14, 17)
"""

from typing import Literal

import msgspec

from holdfast.bus.api import Entry
from holdfast.bus.errors import Refused
from holdfast.bus.head import Head
from holdfast.bus.ids import Key


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """A living worker."""

    v: int = 1
    host: str = ""
    driver: str = ""


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """Empty: the session has no sandbox. A key is emptied, not deleted: only a write can be compared-and-set."""

    v: int = 1
    generation: str = ""
    worker: str = ""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose result will come, from where."""

    v: int = 1
    tenant: str
    session: str
    call: str
    generation: str
    worker: str

    @property
    def key(self) -> Key:
        return Key(self.tenant, self.session)


def placement_of(entry: Entry | None) -> Placement:
    """What the entry of a session says; nothing readable counts as nothing."""
    if entry is None or entry.value is None:
        return Placement()
    try:
        return msgspec.json.decode(entry.value, type=Placement)
    except msgspec.MsgspecError:
        return Placement()


def record_of(entry: Entry) -> Record:
    """Raises Refused when it is not a record of ours."""
    try:
        return msgspec.json.decode(entry.value or b"", type=Record)
    except msgspec.MsgspecError:
        raise Refused(f"not a record: {entry.key}") from None


def admission(head: Head | None, call: str, name: str, generation: str) -> Literal["run", "unknown", "no"]:
    """Whether the head lets the call run: it is open, ready, of that tool and bound to that generation (rule 13).

    `unknown`: this head does not have it, a newer one may.
    """
    if head is None:
        return "unknown"
    if head.archived or head.deleted:
        return "no"
    found = next((open_call for open_call in head.calls if open_call.id == call), None)
    if found is None or found.state != "ready" or found.generation != generation:
        return "unknown"
    return "run" if found.name == name else "no"
