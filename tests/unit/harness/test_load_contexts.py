"""Contexts are read from the log, or go on from a snapshot or from what the process had folded before."""

import pytest

from holdfast.bus.ids import Key, new_session_id
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.conversation.snapshot import SHORT_LOG_EVENTS, load_contexts, save_contexts
from holdfast.testing.contracts.helpers import append_commits
from holdfast.testing.faults import Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer

FEW, MANY = 5, SHORT_LOG_EVENTS + 5


class Operations(Faults):
    """The operations that were asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def pause(self, process: str, operation: str) -> None:
        self.asked.append(operation)
        await super().pause(process, operation)


@pytest.mark.parametrize("followed", [0, 1, FEW, MANY])
@pytest.mark.parametrize("has_snapshot", [False, True])
async def test_contexts_go_on_from_earlier_ones(followed: int, has_snapshot: bool) -> None:
    operations = Operations()
    bus, key = MemoryBus(MemoryServer(operations)), Key("acme", new_session_id())
    stored = await append_commits(bus, key, MANY)
    earlier = await load_contexts(bus, key, stored[-1])
    if followed:
        stored += await append_commits(bus, key, followed, stored[-1])
    whole = Contexts()
    for one in stored:
        whole.fold(one)
    if has_snapshot:
        await save_contexts(bus, key, whole, every=1)
    operations.asked.clear()
    found = await load_contexts(bus, key, stored[-1], earlier)
    assert found.snapshot() == whole.snapshot()
    assert ("kv.get" in operations.asked) == (followed == MANY), operations.asked
    if followed == MANY:
        assert (found is earlier) == (not has_snapshot)


async def test_contexts_of_a_log_that_was_set_back_are_not_used() -> None:
    bus, key = MemoryBus(MemoryServer()), Key("acme", new_session_id())
    stored = await append_commits(bus, key, FEW)
    ahead = await load_contexts(bus, key, stored[-1])
    found = await load_contexts(bus, key, stored[1], ahead)
    assert found is not ahead
    assert found.seq >= stored[1].seq
