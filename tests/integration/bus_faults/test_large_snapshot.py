"""Snapshots that are larger than a message, over real NATS and in memory."""

import hashlib

import msgspec
import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import TooLarge
from holdfast.bus.ids import Key, new_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.streams import MAX_MESSAGE_BYTES
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.conversation.snapshot import save_contexts
from holdfast.harness.conversation.snapshot_parts import (
    BUCKET,
    MAX_PARTS,
    MAX_SNAPSHOT_BYTES,
    PART_BYTES,
    Manifest,
    read_snapshot,
    write_snapshot,
)
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


@pytest.fixture(params=["memory", "nats"])
def either(request: pytest.FixtureRequest, bus: NatsBus) -> Bus:
    return MemoryBus(MemoryServer()) if request.param == "memory" else bus


def contexts_of(characters: int) -> Contexts:
    """The contexts of a session with one message of that length."""
    text = "".join(chr(97 + index % 26) for index in range(1000)) * (characters // 1000)
    said = ev.UserMessage(id="u1", content=[{"type": "text", "text": text}])
    contexts = Contexts()
    contexts.fold(Stored(1, commit(None, [said], by="test", new_id=new_id, now=0)))
    return contexts


async def keys_of(bus: Bus, key: Key) -> list[str]:
    return sorted(entry.key for entry in await bus.kv.list(BUCKET) if entry.key.startswith(subjects.snapshot_key(key)))


async def test_a_snapshot_over_the_largest_message_is_kept_and_read_again(either: Bus, key: Key) -> None:
    contexts = contexts_of(3 * MAX_MESSAGE_BYTES)
    await save_contexts(either, key, contexts, every=1)
    data, parts = await read_snapshot(either, key)
    assert data == contexts.snapshot()
    assert parts == contexts.snapshot_parts == -(-len(contexts.snapshot()) // PART_BYTES)
    assert Contexts.restore(data).thread("").messages() == contexts.thread("").messages()


async def test_a_smaller_snapshot_leaves_nothing_of_a_larger_one(either: Bus, key: Key) -> None:
    large, small = b"l" * (2 * PART_BYTES + 1), b"s" * PART_BYTES
    parts = await write_snapshot(either, key, large, former_parts=0)
    assert parts == 3
    assert len(await keys_of(either, key)) == 4
    assert await write_snapshot(either, key, small, former_parts=parts) == 0
    assert await keys_of(either, key) == [subjects.snapshot_key(key)]
    assert await read_snapshot(either, key) == (small, 0)


async def test_parts_of_two_snapshots_are_no_snapshot(either: Bus, key: Key) -> None:
    parts = await write_snapshot(either, key, b"a" * (PART_BYTES + 1), former_parts=0)
    await either.kv.put(BUCKET, subjects.snapshot_part_key(key, 1), b"b")
    assert await read_snapshot(either, key) == (None, parts)
    await either.kv.delete(BUCKET, subjects.snapshot_part_key(key, 0))
    assert await read_snapshot(either, key) == (None, parts)


async def test_a_snapshot_that_is_too_large_leaves_the_former_one(either: Bus, key: Key) -> None:
    former = b"f" * (PART_BYTES + 1)
    parts = await write_snapshot(either, key, former, former_parts=0)
    with pytest.raises(TooLarge):
        await write_snapshot(either, key, bytes(MAX_SNAPSHOT_BYTES + 1), former_parts=parts)
    assert await read_snapshot(either, key) == (former, parts)
    largest = bytes(MAX_SNAPSHOT_BYTES)
    assert await write_snapshot(either, key, largest, former_parts=parts) == MAX_PARTS
    assert await read_snapshot(either, key) == (largest, MAX_PARTS)


@pytest.mark.parametrize("parts", [0, -1, MAX_PARTS + 1, 10**9])
async def test_a_manifest_of_impossible_size_is_not_followed(either: Bus, key: Key, parts: int) -> None:
    made = Manifest(parts, hashlib.sha256(b"").hexdigest())
    await either.kv.put(BUCKET, subjects.snapshot_key(key), msgspec.json.encode(made))
    data, _ = await read_snapshot(either, key)
    assert Contexts.restore(data).seq == 0
