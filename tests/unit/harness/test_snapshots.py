"""A snapshot is stored beside a delete: whichever comes second, nothing of the deleted session is left (rule 29)."""

import asyncio

import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Entry
from holdfast.bus.commits import Stored, commit
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.streams import SNAPSHOTS
from holdfast.harness.conversation.snapshot import load_contexts, save_contexts
from holdfast.testing.contracts.helpers import append_commits
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


@pytest.fixture
def key() -> Key:
    return Key("acme", new_session_id())


async def snapshot(bus: MemoryBus, key: Key) -> Entry | None:
    return await bus.kv.get(SNAPSHOTS, subjects.snapshot_key(key))


async def delete(bus: MemoryBus, key: Key, before: Stored) -> None:
    """What the session service does: the tombstone, then the snapshot that there is."""
    gone = commit(before, [ev.SessionDeleted(id=new_id("sevt"))], by="session", new_id=new_id, now=before.commit.at + 1)
    await bus.log.append(key, gone, before.seq)
    await bus.kv.erase(SNAPSHOTS, subjects.snapshot_key(key))


async def test_a_snapshot_replaces_the_one_before(key: Key) -> None:
    bus = MemoryBus(MemoryServer())
    stored = await append_commits(bus, key, 3)
    contexts = await load_contexts(bus, key, stored[-1])
    await save_contexts(bus, key, contexts, every=2)
    first = await snapshot(bus, key)
    stored += await append_commits(bus, key, 1, stored[-1])
    contexts.fold(stored[-1])
    await save_contexts(bus, key, contexts, every=2)
    assert await snapshot(bus, key) == first, "too few events since"
    stored += await append_commits(bus, key, 2, stored[-1])
    for one in stored[-2:]:
        contexts.fold(one)
    await save_contexts(bus, key, contexts, every=2)
    second = await snapshot(bus, key)
    assert first is not None
    assert second is not None
    assert second.revision > first.revision


async def test_a_snapshot_after_the_delete_is_erased_by_its_writer(key: Key) -> None:
    bus = MemoryBus(MemoryServer())
    stored = await append_commits(bus, key, 3)
    contexts = await load_contexts(bus, key, stored[-1])
    await delete(bus, key, stored[-1])
    await save_contexts(bus, key, contexts, every=1)
    assert await snapshot(bus, key) is None


@pytest.mark.parametrize("steps", range(8))
async def test_nothing_is_left_at_any_order_of_the_steps(key: Key, steps: int) -> None:
    """The delete begins after that many steps of the writer; the rest run side by side."""
    server = MemoryServer()
    harness, session = MemoryBus(server, "harness"), MemoryBus(server, "session")
    stored = await append_commits(session, key, 3)
    contexts = await load_contexts(harness, key, stored[-1])
    saving = asyncio.create_task(save_contexts(harness, key, contexts, every=1))
    for _ in range(steps):
        await asyncio.sleep(0)
    await delete(session, key, stored[-1])
    await saving
    assert await snapshot(session, key) is None
