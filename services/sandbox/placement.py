"""The records that workers keep in the bucket `hands`, and the decision whether a call may run. Pure.

w.<cell>.<worker>                   WorkerRecord  a registered worker; expires unless it is refreshed
s.<cell>.<tenant>.<session>.<hand>  Placement     generation and worker of a hand; only compare-and-set writes

A placement does not expire: it is what finds the open calls of a dead worker (rule 17).
"""

from typing import Final, Literal

import msgspec

from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.head import Head
from holdfast.bus.records import decode_record

BUCKET: Final = "hands"
"""Name of the bucket."""


class WorkerRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered worker. Its id is in the key."""

    v: int = msgspec.field(default_factory=lambda: 1)  # a factory, so that it is always written
    hand: str = ""
    """Name of the hands that it makes."""
    host: str = ""
    """Id of the place where it keeps the files of sessions (`Driver.host`); empty: it keeps none."""
    machine: str = ""
    """Name of its machine, for people."""
    driver: str = ""


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hand of a session. An empty generation: the session has none now.

    A placement is emptied, not deleted, because only a write can be compared-and-set, and because `host` stays: it says
    where the files of the session are until these are removed.
    """

    v: int = msgspec.field(default_factory=lambda: 1)  # a factory, so that it is always written
    generation: str = ""
    worker: str = ""
    host: str = ""

    def emptied(self) -> "Placement":
        """The placement after its generation is gone."""
        return Placement(host=self.host)


def placement_of(value: bytes | None) -> Placement:
    """The placement in a stored value; an empty one if there is no value or it cannot be read. Raises Newer."""
    if value is None:
        return Placement()
    try:
        return decode_record(Placement, value)
    except Damaged:
        return Placement()


def worker_record_of(value: bytes | None) -> WorkerRecord:
    """The registration in a stored value; one of no hand if there is no value or it cannot be read."""
    try:
        return decode_record(WorkerRecord, value or b"{}")
    except (Damaged, Newer):
        return WorkerRecord()


def encode(record: WorkerRecord | Placement) -> bytes:
    """The bytes that are stored."""
    return msgspec.json.encode(record)


def admission(head: Head | None, call: str, name: str, generation: str) -> Literal["run", "unknown", "no"]:
    """Whether the call may run: it is open, ready, calls the tool `name` and is bound to `generation` (rule 13).

    `unknown`: this head does not have the call, a newer one may have it.
    """
    if head is None:
        return "unknown"
    if head.archived or head.deleted:
        return "no"
    found = next((open_call for open_call in head.calls if open_call.id == call), None)
    if found is None or found.state != "ready" or found.generation != generation:
        return "unknown"
    return "run" if found.name == name else "no"
