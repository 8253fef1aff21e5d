"""The snapshot of a session in the bucket `snap`: one value, or parts of it if it is larger than a message may be.

A large snapshot is stored as the parts `<key>.0`, `<key>.1` …, and then `<key>` names their number and the hash of the
whole. The parts of the next one take their place, so that nothing piles up, as it would in the object store, where a
body is never overwritten. Two writers, or a reader while one writes, can mix the parts of two snapshots. The hash tells
that, and then there is no snapshot: it only saves reading the log.

A value is erased before the next one takes its place, and stored only if there is none: the bytes of a value that is
replaced would stay on the disk, and nobody could find them to erase them when the session is deleted (rule 29).
"""

import hashlib
from typing import Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import TooLarge
from holdfast.bus.ids import Key
from holdfast.bus.streams import SNAPSHOTS

PART_BYTES: Final = 4 * 1024 * 1024
"""Largest value that is stored, in bytes: half of the largest message."""

MAX_PARTS: Final = 8
"""Parts of the largest snapshot that is stored, 32 MiB: no endpoint takes a request with a larger conversation."""

MAX_SNAPSHOT_BYTES: Final = MAX_PARTS * PART_BYTES

_MANIFEST_LIMIT_BYTES: Final = 1000
"""A manifest is smaller, and no snapshot that is stored in one value is."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of the key of a snapshot that is stored in parts."""

    parts: int
    sha256: str


async def read_snapshot(bus: Bus, key: Key) -> bytes | None:
    """The encoded snapshot; None if there is none. Raises BusError.

    Any replica answers: an old snapshot only costs reading.
    """
    entry = await bus.kv.get(SNAPSHOTS, subjects.snapshot_key(key), leader=False)
    if entry is None or entry.value is None:
        return None
    manifest = _manifest(entry.value)
    if manifest is None:
        return entry.value
    parts: list[bytes] = []
    for index in range(manifest.parts):  # in turn: what the server has to write at once for a client is bounded
        part = await bus.kv.get(SNAPSHOTS, subjects.snapshot_part_key(key, index), leader=False)
        if part is None or part.value is None:
            return None
        parts.append(part.value)
    whole = b"".join(parts)
    return whole if hashlib.sha256(whole).hexdigest() == manifest.sha256 else None


def _manifest(value: bytes) -> Manifest | None:
    if len(value) > _MANIFEST_LIMIT_BYTES:
        return None
    try:
        found = msgspec.json.decode(value, type=Manifest)
    except msgspec.MsgspecError:
        return None
    return found if 0 < found.parts <= MAX_PARTS else None


async def write_snapshot(bus: Bus, key: Key, data: bytes) -> None:
    """Store the encoded snapshot in place of the last one, unless the session is deleted (rule 29).

    Raises BusError: TooLarge for one over MAX_SNAPSHOT_BYTES, Conflict if another harness writes one too.
    """
    if len(data) > MAX_SNAPSHOT_BYTES:
        raise TooLarge(f"a snapshot of {len(data)} bytes")
    revisions: list[int] = []
    try:
        await _store(bus, key, data, revisions)
    finally:
        await erase_if_deleted(bus, key, revisions)


async def _store(bus: Bus, key: Key, data: bytes, revisions: list[int]) -> None:
    """Erase the values of the last snapshot, store those of this one, and add their revisions to the list."""
    name = subjects.snapshot_key(key)
    count, value = 0, data
    if len(data) > PART_BYTES:
        count = -(-len(data) // PART_BYTES)
        value = msgspec.json.encode(Manifest(count, hashlib.sha256(data).hexdigest()))
    last = await bus.kv.get(SNAPSHOTS, name, leader=False)
    former = _manifest(last.value) if last and last.value is not None else None
    for index in range(max(count, former.parts if former else 0)):
        part_name = subjects.snapshot_part_key(key, index)
        before = await bus.kv.get(SNAPSHOTS, part_name, leader=False)
        if before is not None:
            await bus.kv.erase(SNAPSHOTS, before.revision)
        if index < count:
            part = data[index * PART_BYTES : (index + 1) * PART_BYTES]
            revisions.append(await bus.kv.put_new(SNAPSHOTS, part_name, part))
    if last is not None:
        await bus.kv.erase(SNAPSHOTS, last.revision)
    revisions.append(await bus.kv.put_new(SNAPSHOTS, name, value))


async def erase_if_deleted(bus: Bus, key: Key, revisions: list[int]) -> None:
    """Erase what was just stored if the session has been deleted meanwhile. Raises BusError.

    Of the two that may run side by side the second one finds what the first has written: the session service erases
    after the tombstone is stored, a harness looks for the tombstone after the snapshot is stored.
    """
    last = await bus.log.head(key, leader=True) if revisions else None
    if last is not None and last.commit.head.deleted:
        for revision in revisions:
            await bus.kv.erase(SNAPSHOTS, revision)
