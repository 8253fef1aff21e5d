"""Searches the lines of one file: text of any line length, UTF-16 with a byte order mark, and binary files by line."""

from __future__ import annotations

import os
import signal
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator
    from types import FrameType
    from typing import BinaryIO, Final, Self

    from .files import Root

BINARY_PROBE_BYTES: Final = 512
"""A file with a NUL character in so many bytes at its beginning is binary: its lines are searched, but not shown."""

BLOCK_BYTES: Final = 1 << 20
"""Bytes of one read. A longer line is searched in parts of so many bytes, which overlap by OVERLAP_BYTES."""

OVERLAP_BYTES: Final = 1 << 12

LONG_LINE_CHARS: Final = 10_000
"""A pattern may take for ever on a line, so a longer line gets LONG_LINE_S seconds of processor time."""

LONG_LINE_S: Final = 1.0

TICK_S: Final = 0.1
"""Seconds of processor time between two looks at the time within one line."""

SHOWN_CHARS: Final = 500
"""Most characters of a line that are shown: those around the match."""


class TooSlow(Exception):
    """The pattern takes too long on this line, or the time of the whole search is over."""


class Hit:
    """A line that matches. `number` is 0 for a binary file, which is searched up to its first match."""

    __slots__ = ("number", "text")

    def __init__(self, number: int, text: str) -> None:
        self.number, self.text = number, text


class Searcher:
    """Finds lines that match `pattern` and contain `literal`. Ends after `limit_s` seconds.

    Used as a context: it takes a signal of the process to look at the time while a pattern is matched.
    """

    def __init__(self, pattern: re.Pattern[str], literal: str, limit_s: float) -> None:
        self._search = pattern.search
        self._needle = literal.encode("utf-8", "surrogatepass")
        self._literal = literal
        self.limit_s = limit_s
        self._ends_at = time.monotonic() + limit_s
        self._line_ends_at = 0.0
        self._matching = False
        self.slow: list[tuple[str, int]] = []
        """Path and number of the long lines that took too long and were left out."""

    def __enter__(self) -> Self:
        signal.signal(signal.SIGVTALRM, self._on_tick)
        signal.setitimer(signal.ITIMER_VIRTUAL, TICK_S, TICK_S)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, signal.SIG_IGN)

    def check(self) -> None:
        """Raise TooSlow if the time of the search is over."""
        if self.is_over:
            raise TooSlow

    @property
    def is_over(self) -> bool:
        """Whether the time of the search is over."""
        return time.monotonic() > self._ends_at

    def _on_tick(self, _number: int, _frame: FrameType | None) -> None:
        if self._matching and (self.is_over or (self._line_ends_at and time.process_time() > self._line_ends_at)):
            self._matching = False
            raise TooSlow

    def hits(self, root: Root, path: str) -> Iterator[Hit]:
        """The lines of a file that match. Raises OSError if it cannot be read, and TooSlow if the time is over."""
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return
            data = file.read(BLOCK_BYTES)
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                lines: Iterator[tuple[int, bytes]] = enumerate(_from_utf16(data + file.read(31 * BLOCK_BYTES)), start=1)
                binary = False
            else:
                binary = b"\0" in data[:BINARY_PROBE_BYTES]
                if len(data) < BLOCK_BYTES:
                    if self._needle not in data:
                        return
                    lines = enumerate(_lines(data), start=1)
                else:
                    file.seek(0)
                    lines = _long_lines(file)
            found = 0
            for number, line in lines:
                if number != found and self._needle in line and (hit := self._hit(path, number, line)):
                    found = number
                    yield Hit(0, "") if binary else hit
                    if binary:
                        return

    def _hit(self, path: str, number: int, line: bytes) -> Hit | None:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        long = len(text) > LONG_LINE_CHARS
        self._line_ends_at = time.process_time() + LONG_LINE_S if long else 0.0
        try:
            self._matching = True
            found = self._search(text)
            self._matching = False
        except TooSlow:
            if self.is_over:
                raise
            self.slow.append((path, number))
            return None
        return Hit(number, _around(text, found.start(), found.end())) if found else None


def _long_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each line; a line longer than BLOCK_BYTES comes in parts, all with its number."""
    number, rest = 1, b""
    while line := file.readline(BLOCK_BYTES):
        yield number, rest + line
        ended = line.endswith(b"\n")
        number += ended
        rest = b"" if ended else line[-OVERLAP_BYTES:]


def _from_utf16(data: bytes) -> list[bytes]:
    return _lines(data.decode("utf-16", "replace").encode("utf-8", "replace"))


def _lines(data: bytes) -> list[bytes]:
    """The lines of a file. What is behind the last line end is none if nothing is there."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _around(text: str, start: int, end: int) -> str:
    """The line, or the part of a long line around the match."""
    if len(text) <= SHOWN_CHARS:
        return text
    first = max(0, min(start - SHOWN_CHARS // 4, len(text) - SHOWN_CHARS))
    last = first + SHOWN_CHARS
    before, after = "..." if first else "", "..." if last < len(text) else ""
    return f"{before}{text[first:last]}{after} [columns {start + 1} to {end} of {len(text)}]"
