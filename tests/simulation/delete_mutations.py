"""Mutations of the rules 2 and 29: what becomes of a deleted session."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from holdfast.bus.api import Bus
from holdfast.bus.commits import Commit, Stored, commit
from holdfast.bus.events import Event
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.harness.conversation import snapshot_parts
from holdfast.harness.turn import dispatch
from holdfast.harness.turn.claim import is_done
from holdfast.testing.memory.kv import MemoryKeyValue
from tests.simulation import user
from tests.simulation.swapped import Applied, swapped


def d1_a_deleted_session_is_claimed() -> Applied:
    """An input of a deleted session is not acked before somebody has taken it."""

    def taken(head: Head, inbox: str, seq: int, source: Source) -> bool:
        return is_done(replace(head, deleted=0), inbox, seq, source)

    return swapped((dispatch, "is_done", taken))


def d2_a_snapshot_is_stored_and_left() -> Applied:
    """A harness does not look for a tombstone after it has stored a snapshot."""

    async def leave(bus: Bus, key: Key, revisions: list[int]) -> None:
        pass

    return swapped((snapshot_parts, "erase_if_deleted", leave))


def d4_a_value_is_replaced() -> Applied:
    """A harness stores a snapshot also where another one has stored one meanwhile."""
    return swapped((MemoryKeyValue, "put_new", MemoryKeyValue.put))


def d3_a_tombstone_leaves_the_claim() -> Applied:
    """The owner of an archived session is not fenced by the tombstone."""

    def keep(before: Stored | None, events: Sequence[Event], **rest: Any) -> Commit:
        made = commit(before, events, **rest)
        return replace(made, head=replace(made.head, claim=before.commit.head.claim)) if before else made

    return swapped((user, "commit", keep))
