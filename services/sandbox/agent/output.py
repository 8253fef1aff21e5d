"""The output of a command: shown whole if it is short, else its beginning and end, and the whole in a file."""

from __future__ import annotations

from .output_file import OutputFile
from .terminal_text import TerminalText

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

OUTPUT_CHARS: Final = 100_000
"""Most characters of a result; a longer output goes to a file."""

HEAD_CHARS, TAIL_CHARS = 20_000, 10_000
"""Characters shown of the beginning and of the end of an output that went to a file."""

TAIL_BYTES: Final = 4 * TAIL_CHARS
"""Bytes that hold as many characters at least."""


class Output:
    """Collects the output of one command, of any length in little memory."""

    def __init__(self, root: Root) -> None:
        self._terminal = TerminalText()
        self._file = OutputFile(root)
        self._head: list[str] = []
        self._chars = 0
        """Characters so far; those that may still change or be removed are counted as they came."""
        self._long = False
        self._last = ""
        """The end of the text that was certain when the output turned out to be long."""
        self._tail = bytearray()
        """The end of what came afterwards."""
        self._tail_is_whole = True

    def add(self, data: bytes | bytearray) -> str:
        """Add output. Returns the text that is now certain, of the first OUTPUT_CHARS characters."""
        self._file.add(data)
        if not self._long:
            return self._add_text(self._terminal.add(data))
        self._chars += _characters(data)
        self._tail += data
        if len(self._tail) > 4 * TAIL_BYTES:
            self._tail = from_whole_character(self._tail[-TAIL_BYTES:])
            self._tail_is_whole = False
        return ""

    def _add_text(self, text: str) -> str:
        self._head.append(text)
        before, self._chars = self._chars, self._chars + len(text)
        if self._chars > OUTPUT_CHARS:
            whole = "".join(self._head)
            self._head, self._last = [whole[:HEAD_CHARS]], whole[HEAD_CHARS:][-TAIL_CHARS:]
            self._chars += self._terminal.pending
            self._long = True
            self._file.keep()
            return text[: OUTPUT_CHARS - before]
        return text

    def text(self) -> str:
        """The text to show. Nothing may be added afterwards."""
        if not self._long:
            self._add_text(self._terminal.end())
        if not self._long:
            self._file.drop()
            return "".join(self._head)
        terminal, before = (self._terminal, self._last) if self._tail_is_whole else (TerminalText(), "")
        head, tail = self._head[0], (before + terminal.add(self._tail) + terminal.end())[-TAIL_CHARS:]
        left_out = max(self._chars - len(head) - len(tail), 0)
        where = self._file.close()
        return f"{head}\n\n... [{left_out} of {self._chars} characters of output left out here; {where}] ...\n\n{tail}"


def from_whole_character(data: bytearray) -> bytearray:
    """`data` without the rest of a character at its beginning that was cut off."""
    start = next((at for at in range(min(4, len(data))) if data[at] & 0xC0 != 0x80), 0)
    return data[start:]


def _characters(data: bytes | bytearray) -> int:
    """The number of characters that begin in `data`."""
    return len(data.translate(None, _CONTINUATIONS))


_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that do not begin a character."""
