"""Mutations of the rules 2 and 29: what becomes of a deleted session."""

from msgspec.structs import replace

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.bus.streams import SNAPSHOTS
from holdfast.harness.conversation import snapshot
from holdfast.harness.turn import dispatch
from holdfast.harness.turn.claim import is_done
from tests.simulation.swapped import Applied, swapped


def d1_a_deleted_session_is_claimed() -> Applied:
    """An input of a deleted session is not acked before somebody has taken it."""

    def taken(head: Head, inbox: str, seq: int, source: Source) -> bool:
        return is_done(replace(head, deleted=0), inbox, seq, source)

    return swapped((dispatch, "is_done", taken))


def d2_a_snapshot_is_stored_and_left() -> Applied:
    """A harness does not look for a tombstone after it has stored a snapshot."""

    async def store(bus: Bus, key: Key, data: bytes) -> None:
        await bus.kv.put(SNAPSHOTS, subjects.snapshot_key(key), data)

    return swapped((snapshot, "_replace", store))
