"""The snapshot of a session in the bucket `snap`: one value, or parts of it if it is larger than a message may be.

A large snapshot is stored as the parts `<key>.0`, `<key>.1` …, and then `<key>` names their number and the hash of the
whole. The parts of the next one take their place, so that nothing piles up, as it would in the object store, where a
body is never overwritten. Two writers, or a reader while one writes, can mix the parts of two snapshots. The hash tells
that, and then there is no snapshot: it only saves reading the log.
"""

import hashlib
from typing import Final

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import TooLarge
from holdfast.bus.ids import Key

BUCKET: Final = "snap"

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


async def read_snapshot(bus: Bus, key: Key) -> tuple[bytes | None, int]:
    """The encoded snapshot and the number of parts that are stored; None if there is none. Raises BusError.

    Any replica answers: an old snapshot only costs reading.
    """
    entry = await bus.kv.get(BUCKET, subjects.snapshot_key(key), leader=False)
    if entry is None or entry.value is None:
        return None, 0
    manifest = _manifest(entry.value)
    if manifest is None:
        return entry.value, 0
    parts: list[bytes] = []
    for index in range(manifest.parts):  # in turn: what the server has to write at once for a client is bounded
        part = await bus.kv.get(BUCKET, subjects.snapshot_part_key(key, index), leader=False)
        if part is None or part.value is None:
            return None, manifest.parts
        parts.append(part.value)
    whole = b"".join(parts)
    return whole if hashlib.sha256(whole).hexdigest() == manifest.sha256 else None, manifest.parts


def _manifest(value: bytes) -> Manifest | None:
    if len(value) > _MANIFEST_LIMIT_BYTES:
        return None
    try:
        found = msgspec.json.decode(value, type=Manifest)
    except msgspec.MsgspecError:
        return None
    return found if 0 < found.parts <= MAX_PARTS else None


async def write_snapshot(bus: Bus, key: Key, data: bytes, *, former_parts: int) -> int:
    """Store the encoded snapshot in place of the last one, which had `former_parts` parts. Returns its own number.

    Raises BusError; TooLarge for one of more than MAX_PARTS parts.
    """
    if len(data) > MAX_SNAPSHOT_BYTES:
        raise TooLarge(f"a snapshot of {len(data)} bytes")
    parts, value = 0, data
    if len(data) > PART_BYTES:
        parts = -(-len(data) // PART_BYTES)
        value = msgspec.json.encode(Manifest(parts, hashlib.sha256(data).hexdigest()))
    for index in range(parts):
        part = data[index * PART_BYTES : (index + 1) * PART_BYTES]
        await bus.kv.put(BUCKET, subjects.snapshot_part_key(key, index), part)
    await bus.kv.put(BUCKET, subjects.snapshot_key(key), value)
    for index in range(parts, former_parts):
        await bus.kv.delete(BUCKET, subjects.snapshot_part_key(key, index))
    return parts
