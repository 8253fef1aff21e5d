"""What the running command prints, sent while it runs: for people who watch, not for the model.

A prefix of the output of the result, sent in pieces at a slow pace. A command that is over sooner than one pace sends
nothing, so the usual short command costs nothing.
"""

from __future__ import annotations

import codecs

from .text import clean, open_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .loop import Loop, Timer

PACE: Final = 0.1
"""Seconds between two pieces, and before the first."""

PIECE: Final = 16_000
"""Characters of one piece, before control characters are spelled out."""

TOTAL: Final = 256 * 1024
"""Bytes of output of one command that are sent; what follows is only in the result."""


class Pieces:
    """Output cut into pieces of clean text. Takes any amount and keeps at most `TOTAL` bytes of it."""

    def __init__(self) -> None:
        self._left = TOTAL
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    def add(self, data: bytes | bytearray) -> None:
        if self._left:
            self._text += self._decoder.decode(bytes(data[: self._left]))
            self._left -= min(len(data), self._left)

    def take(self) -> str:
        """The next piece; empty if there is none before more is printed.

        An escape sequence or a line end that is cut in the middle waits for its rest.
        """
        shown = ""
        while self._text and not shown:
            piece = self._text[:PIECE]
            piece = piece[: open_end(piece)]
            if not piece:
                break
            self._text = self._text[len(piece) :]
            shown = clean(piece, terminal=True)
        return shown


class Live:
    """Sends the output of one command, and never waits for a reader."""

    def __init__(self, loop: Loop, call: int) -> None:
        self._loop, self._call = loop, call
        self._pieces = Pieces()
        self._timer: Timer | None = None
        self._over = False

    def add(self, data: bytes | bytearray) -> None:
        if data and not self._over:
            self._pieces.add(data)
            if self._timer is None:
                self._timer = self._loop.after(PACE, self._send)

    def end(self) -> None:
        """Send nothing more."""
        self._over = True
        self._loop.drop(self._timer)

    def _send(self) -> None:
        self._timer = None
        if self._loop.congested:
            self._timer = self._loop.after(PACE, self._send)
        elif shown := self._pieces.take():
            self._loop.output(self._call, shown)
            self._timer = self._loop.after(PACE, self._send)
