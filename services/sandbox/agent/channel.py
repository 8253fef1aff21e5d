"""The stream to the service: frames in on stdin, frames out on stdout without ever blocking."""

from __future__ import annotations

import json
import os
import select
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .poller import Poller
    from .text import Block

FRAME_BYTES: Final = 64 * 1024 * 1024
"""Largest frame from the service."""

CHUNK_BYTES: Final = 1 << 20
"""Bytes of one read or write."""

_HEADER: Final = struct.Struct(">I")


class Channel:
    """Reads and writes frames. `on_frame` is called with each frame from the service."""

    def __init__(self, poller: Poller, on_frame: Callable[[dict[str, Any]], None]) -> None:
        self._poller = poller
        self._on_frame = on_frame
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def open(self) -> None:
        """Begin to read."""
        os.set_blocking(1, False)
        self._poller.watch(0, self._read)

    @property
    def congested(self) -> bool:
        """Whether frames wait to be read by the service."""
        return bool(self._outgoing)

    def send(self, frame: dict[str, Any]) -> None:
        """Write a frame now, or when the service has read those before it."""
        data = json.dumps(frame).encode()
        self._outgoing += _HEADER.pack(len(data)) + data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: os.write(1, self._outgoing[:CHUNK_BYTES])]
        except BlockingIOError:
            self._poller.watch(1, self._flush, select.EPOLLOUT)
            return
        except BrokenPipeError:
            raise SystemExit(0) from None
        self._poller.unwatch(1)

    def _read(self) -> None:
        data = os.read(0, CHUNK_BYTES)
        if not data:
            raise SystemExit(0)  # the service has ended; the end of this process ends the whole sandbox
        self._incoming += data
        while len(self._incoming) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._incoming)
            if size > FRAME_BYTES:
                raise SystemExit(1)
            if len(self._incoming) < _HEADER.size + size:
                return
            frame = json.loads(bytes(self._incoming[_HEADER.size : _HEADER.size + size]))
            del self._incoming[: _HEADER.size + size]
            self._on_frame(frame)


class Call:
    """One call of the service: the tool's name, the model's input, the time limit (seconds), and the way back."""

    def __init__(self, channel: Channel, frame: dict[str, Any], on_reply: Callable[[Call], None]) -> None:
        self.id: int = frame["id"]
        self.name: str = frame["name"]
        self.input: Any = frame["input"]
        self.limit: float = frame["limit"]
        self._channel = channel
        self._on_reply = on_reply

    @property
    def congested(self) -> bool:
        """Whether frames wait to be read by the service."""
        return self._channel.congested

    def output(self, text: str) -> None:
        """Send output of a command that runs; the result repeats it."""
        self._channel.send({"id": self.id, "output": text})

    def reply(self, content: list[Block], is_error: bool = False) -> None:
        """Send the result. Called once per call."""
        self._channel.send({"id": self.id, "content": content, "is_error": is_error})
        self._on_reply(self)
