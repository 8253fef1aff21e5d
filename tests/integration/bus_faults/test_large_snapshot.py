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
from holdfast.bus.streams import MAX_MESSAGE_BYTES, SNAPSHOTS
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.conversation.snapshot import save_contexts
from holdfast.harness.conversation.snapshot_parts import (
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
    return sorted(
        entry.key for entry in await bus.kv.list(SNAPSHOTS) if entry.key.startswith(subjects.snapshot_key(key))
    )


async def test_a_snapshot_over_the_largest_message_is_kept_and_read_again(either: Bus, key: Key) -> None:
    contexts = contexts_of(3 * MAX_MESSAGE_BYTES)
    await save_contexts(either, key, contexts, every=1)
    data = await read_snapshot(either, key)
    assert data == contexts.snapshot()
    assert len(await keys_of(either, key)) == 1 + -(-len(contexts.snapshot()) // PART_BYTES)
    assert Contexts.restore(data).thread("").messages() == contexts.thread("").messages()


async def test_a_smaller_snapshot_leaves_nothing_of_a_larger_one(either: Bus, key: Key) -> None:
    large, small = b"l" * (2 * PART_BYTES + 1), b"s" * PART_BYTES
    await write_snapshot(either, key, large)
    assert len(await keys_of(either, key)) == 4
    await write_snapshot(either, key, small)
    assert await keys_of(either, key) == [subjects.snapshot_key(key)]
    assert await read_snapshot(either, key) == small


async def test_parts_of_two_snapshots_are_no_snapshot(either: Bus, key: Key) -> None:
    await write_snapshot(either, key, b"a" * (PART_BYTES + 1))
    await either.kv.put(SNAPSHOTS, subjects.snapshot_part_key(key, 1), b"b")
    assert await read_snapshot(either, key) is None
    await either.kv.erase_all(SNAPSHOTS, subjects.snapshot_part_key(key, 0))
    assert await read_snapshot(either, key) is None


async def test_a_snapshot_that_is_too_large_leaves_the_former_one(either: Bus, key: Key) -> None:
    former = b"f" * (PART_BYTES + 1)
    await write_snapshot(either, key, former)
    with pytest.raises(TooLarge):
        await write_snapshot(either, key, bytes(MAX_SNAPSHOT_BYTES + 1))
    assert await read_snapshot(either, key) == former
    largest = bytes(MAX_SNAPSHOT_BYTES)
    await write_snapshot(either, key, largest)
    assert len(await keys_of(either, key)) == MAX_PARTS + 1
    assert await read_snapshot(either, key) == largest


@pytest.mark.parametrize("parts", [0, -1, MAX_PARTS + 1, 10**9])
async def test_a_manifest_of_impossible_size_is_not_followed(either: Bus, key: Key, parts: int) -> None:
    made = Manifest(parts, hashlib.sha256(b"").hexdigest())
    await either.kv.put(SNAPSHOTS, subjects.snapshot_key(key), msgspec.json.encode(made))
    data = await read_snapshot(either, key)
    assert Contexts.restore(data).seq == 0
