"""Sends the output of a command while it runs: for people who watch, not for the model.

What is sent is a prefix of the output in the result, in pieces and at a slow pace. A command that ends within
SEND_INTERVAL_S sends nothing, so that the usual short command costs nothing.
"""

from __future__ import annotations

import codecs

from .text import clean, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .channel import Call
    from .poller import Poller, Timer

SEND_INTERVAL_S: Final = 0.1
"""Seconds before the first piece and between two pieces."""

PIECE_CHARS: Final = 16_000
"""Characters of one piece, before control characters are spelled out."""

LIVE_OUTPUT_BYTES: Final = 256 * 1024
"""Bytes of output of one command that are sent; the rest is only in the result."""


class Pieces:
    """Cuts output into pieces of clean text. Keeps at most LIVE_OUTPUT_BYTES however much is added."""

    def __init__(self) -> None:
        self._left = LIVE_OUTPUT_BYTES
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    def add(self, data: bytes | bytearray) -> None:
        if self._left:
            self._text += self._decoder.decode(bytes(data[: self._left]))
            self._left -= min(len(data), self._left)

    def take(self) -> str:
        """The next piece; empty if there is none until more is added.

        An escape sequence or line end at the end of the text stays until the bytes that complete it are added.
        """
        shown = ""
        while self._text and not shown:
            piece = self._text[:PIECE_CHARS]
            piece = piece[: open_end(piece)]
            if not piece:
                break
            self._text = self._text[len(piece) :]
            shown = clean(piece, terminal=True)
        return shown


class LiveOutput:
    """Sends the output of one command. While the service does not read, it waits with the next piece."""

    def __init__(self, poller: Poller, call: Call) -> None:
        self._poller, self._call = poller, call
        self._pieces = Pieces()
        self._timer: Timer | None = None
        self._ended = False

    def add(self, data: bytes | bytearray) -> None:
        if data and not self._ended:
            self._pieces.add(data)
            if self._timer is None:
                self._timer = self._poller.after(SEND_INTERVAL_S, self._send)

    def end(self) -> None:
        """Send nothing more."""
        self._ended = True
        self._poller.drop(self._timer)

    def _send(self) -> None:
        self._timer = None
        if self._call.congested:
            self._timer = self._poller.after(SEND_INTERVAL_S, self._send)
        elif shown := self._pieces.take():
            self._call.output(shown)
            self._timer = self._poller.after(SEND_INTERVAL_S, self._send)
