"""Frames: four bytes of length (big endian) and a JSON text, on the streams to the service and to helpers. Pure."""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

FRAME_BYTES: Final = 64 * 1024 * 1024
"""Largest frame from the service."""

_HEADER: Final = struct.Struct(">I")


def encode(value: Any) -> bytes:
    """The frame that holds `value`."""
    data = json.dumps(value).encode()
    return _HEADER.pack(len(data)) + data


def decode(frame: bytes) -> Any:
    """The value in a frame. Raises ValueError."""
    return json.loads(frame[_HEADER.size :])


class FrameReader:
    """Takes whole frames out of the bytes of a stream. A frame has at most `limit` bytes after its header."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unread = bytearray()

    def add(self, data: bytes) -> None:
        """Add the next bytes of the stream."""
        self._unread += data

    def next(self) -> bytes | None:
        """Remove and return the first frame, header included; None if it is not complete. ValueError: too large."""
        if len(self._unread) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self._unread)
        if size > self._limit:
            raise ValueError("the frame is too large")
        end = _HEADER.size + size
        if len(self._unread) < end:
            return None
        with memoryview(self._unread) as view:
            frame = bytes(view[:end])
        del self._unread[:end]
        return frame
