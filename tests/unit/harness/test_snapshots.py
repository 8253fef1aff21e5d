"""A snapshot is stored beside a delete: whichever comes second, nothing of the deleted session is left (rule 29)."""

import asyncio
from typing import Any

import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Entry
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.streams import SNAPSHOTS
from holdfast.harness.conversation.snapshot import load_contexts, save_contexts
from holdfast.harness.conversation.snapshot_parts import PART_BYTES, read_snapshot, write_snapshot
from holdfast.testing.contracts.helpers import append_commits
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


@pytest.fixture
def key() -> Key:
    return Key("acme", new_session_id())


async def snapshot(bus: MemoryBus, key: Key) -> Entry | None:
    return await bus.kv.get(SNAPSHOTS, subjects.snapshot_key(key))


async def delete(bus: MemoryBus, key: Key, before: Stored) -> None:
    """What the session service does: the tombstone, then what there is of a snapshot."""
    gone = commit(before, [ev.SessionDeleted(id=new_id("sevt"))], by="session", new_id=new_id, now=before.commit.at + 1)
    await bus.log.append(key, gone, before.seq)
    for match in (subjects.snapshot_key(key), subjects.snapshot_part_keys(key)):
        await bus.kv.erase_all(SNAPSHOTS, match)


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


async def test_a_large_snapshot_is_erased_with_its_parts_whichever_comes_second(key: Key) -> None:
    bus = MemoryBus(MemoryServer())
    stored = await append_commits(bus, key, 3)
    large = b"l" * (PART_BYTES + 1)
    await write_snapshot(bus, key, large)
    assert len(bus.server.buckets[SNAPSHOTS]) == 3, "two parts, and their manifest"
    await delete(bus, key, stored[-1])
    assert not bus.server.buckets[SNAPSHOTS]
    await write_snapshot(bus, key, large)
    assert not bus.server.buckets[SNAPSHOTS]


class RecordingServer(MemoryServer):
    """Counts the values that were replaced: their bytes stay on a disk, and nobody can find them to erase them."""

    replaced = 0
    written = 0

    def kv_write(self, bucket: str, key: str, value: bytes | None, **how: Any) -> int:
        before = self.buckets[bucket].get(key)
        revision = super().kv_write(bucket, key, value, **how)
        self.written += 1
        self.replaced += before is not None
        return revision


@pytest.mark.parametrize("steps", range(16))
async def test_two_harnesses_replace_no_value_of_each_other(key: Key, steps: int) -> None:
    """The second begins after that many steps of the first, over an earlier snapshot of three parts."""
    server = RecordingServer()
    await append_commits(MemoryBus(server), key, 3)
    await write_snapshot(MemoryBus(server), key, b"0" * (2 * PART_BYTES + 1))
    data = [letter * (PART_BYTES + 1) for letter in (b"1", b"2")]
    one = asyncio.create_task(write_snapshot(MemoryBus(server, "one"), key, data[0]))
    for _ in range(steps):
        await asyncio.sleep(0)
    two = asyncio.create_task(write_snapshot(MemoryBus(server, "two"), key, data[1]))
    ended = await asyncio.gather(one, two, return_exceptions=True)
    assert all(end is None or isinstance(end, Conflict) for end in ended), ended
    assert server.written > 4
    assert server.replaced == 0
    assert await read_snapshot(MemoryBus(server), key) in (*data, None)


@pytest.mark.parametrize("steps", range(16))
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
