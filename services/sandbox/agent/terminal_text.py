"""What a terminal shows in the end of the output of a command, as text: whole lines, each in its last state. Pure.

A progress bar that is drawn a thousand times in one line is one line here. Cursor movements over several lines are not
followed: programs make none without a terminal.
"""

from __future__ import annotations

import codecs
import re

from .text import SEQUENCES, open_end, spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

LINE_CHARS: Final = 16_000
"""A longer line is given away before its end; what follows cannot change it any more."""

_ERASE_RIGHT, _ERASE_ALL = "\ud800", "\ud801"
"""Stand for escape sequences in a line. No decoded text holds them, because they are surrogates."""

_EFFECTS: Final = {
    "K": _ERASE_RIGHT, "0K": _ERASE_RIGHT, "2K": _ERASE_ALL, "G": "\r", "0G": "\r", "1G": "\r",
}  # fmt: skip
"""Parameters and final character of the control sequences (CSI) that matter within a line."""

_CHANGES = re.compile("[\r\b\ud800\ud801]")
_PIECES = re.compile("([\r\b\ud800\ud801])")


class TerminalText:
    """Takes the bytes of an output and gives its text. Bytes that are not UTF-8 are replaced by U+FFFD."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        """What has come of the line that has not ended."""

    @property
    def pending(self) -> int:
        """Characters that have come and are not certain yet."""
        return len(self._line)

    def add(self, data: bytes | bytearray) -> str:
        """The text that is now certain: a line is certain when it has ended or is longer than LINE_CHARS."""
        text = self._line + self._decoder.decode(bytes(data))
        end = text.rfind("\n") + 1
        certain, self._line = shown(text[:end]) if end else "", text[end:]
        if len(self._line) > LINE_CHARS:
            self._line = self._shortened(self._line)
        if len(self._line) > LINE_CHARS:
            end = open_end(self._line)
            certain, self._line = certain + shown(self._line[:end]), self._line[end:]
        return certain

    def end(self) -> str:
        """The text of a last line without an end. Nothing may be added afterwards."""
        return shown(self._line + self._decoder.decode(b"", final=True))

    @staticmethod
    def _shortened(line: str) -> str:
        """The last state of a line, so that one that is drawn again and again takes little memory."""
        end = open_end(line)
        text = _with_effects(line[:end])
        if not _CHANGES.search(text):
            return line
        cells, at = _drawn(text)
        cells.extend(" " * (at - len(cells)))
        back = "\b" * (len(cells) - at) if at else "\r"
        return "".join(cells) + back + line[end:]


def shown(text: str) -> str:
    """The text of whole lines: escape sequences are removed, other control characters spelled out."""
    if "\x1b" in text or "\x9b" in text:
        text = _with_effects(text)
    text = text.replace("\r\n", "\n")
    if _CHANGES.search(text):
        text = "\n".join([_last_state(line) if _CHANGES.search(line) else line for line in text.split("\n")])
    return spelled(text)


def _with_effects(text: str) -> str:
    """The text without escape sequences; those that change a line stay as one character each."""
    return SEQUENCES.sub(_effect, text)


def _effect(match: re.Match[str]) -> str:
    sequence = match.group()
    parameters = sequence[2:] if sequence.startswith("\x1b[") else sequence[1:] if sequence[0] == "\x9b" else ""
    return _EFFECTS.get(parameters, "")


def _last_state(line: str) -> str:
    return "".join(_drawn(line)[0])


def _drawn(line: str) -> tuple[list[str], int]:
    """The characters of one line after carriage returns, backspaces and erasures, and the place of the cursor."""
    cells: list[str] = []
    at = 0
    for piece in _PIECES.split(line):
        if piece == "\r":
            at = 0
        elif piece == "\b":
            at = max(at - 1, 0)
        elif piece == _ERASE_RIGHT:
            del cells[at:]
        elif piece == _ERASE_ALL:
            cells.clear()
        elif piece:
            cells.extend(" " * (at - len(cells)))
            cells[at : at + len(piece)] = piece
            at += len(piece)
    return cells, at
