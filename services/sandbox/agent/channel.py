"""The stream to the service: frames in on stdin, frames out on stdout without ever blocking."""

from __future__ import annotations

import os
import select

from .frames import FRAME_BYTES, FrameReader, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .poller import Poller
    from .text import Block

CHUNK_BYTES: Final = 1 << 20
"""Bytes of one read or write."""


class Channel:
    """Reads and writes frames. `on_frame` is called with each frame from the service, undecoded."""

    def __init__(self, poller: Poller, on_frame: Callable[[bytes], None]) -> None:
        self._poller = poller
        self._on_frame = on_frame
        self._incoming = FrameReader(FRAME_BYTES)
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
        self._outgoing += encode(frame)
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
        self._incoming.add(data)
        while (frame := self._incoming.next()) is not None:  # ValueError, which ends the agent: it is too large
            self._on_frame(frame)


class Call:
    """One call of the service: the tool's name, the model's input, the time limit (seconds), and the way back.

    `frame` is the frame it came in, and `fields` what that holds.
    """

    def __init__(
        self, channel: Channel, frame: bytes, fields: dict[str, Any], on_reply: Callable[[Call], None]
    ) -> None:
        self.frame = frame
        self.id: int = fields["id"]
        self.name: str = fields["name"]
        self.input: Any = fields["input"]
        self.limit: float = fields["limit"]
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
