"""Finds the text that a model wants to replace in a file: as it is, and else as `read` has shown it. Pure.

`read` spells out control characters (`text.py`), and a model writes a line feed for every line end. So a text that does
not occur as it is, is looked for again: each spelled-out character stands for that character too, and each line feed
for a carriage return and a line feed too. The new text is then written in the same way as the old one was in the file.
"""

from __future__ import annotations

import re

from .text import CONTROLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_SPELLED: Final = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")
_PIECES: Final = re.compile(r"(\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\n)")


class Place:
    """One occurrence of the old text: `text[start:end]`, and the text that takes its place."""

    __slots__ = ("end", "new", "start")

    def __init__(self, start: int, end: int, new: str) -> None:
        self.start, self.end, self.new = start, end, new


def places(text: str, old: str, new: str) -> list[Place]:
    """All occurrences of `old`, which do not overlap, in their order."""
    if old in text:
        new = _with_line_ends_of(text, new)
        return [Place(found.start(), found.end(), new) for found in re.finditer(re.escape(old), text)]
    return [_place(text, found, old, new) for found in re.finditer(_tolerant(old), text)]


def _tolerant(old: str) -> str:
    """A regular expression for `old` as `read` shows it. A piece that may be written in two ways is a group."""
    source = ""
    for piece in _PIECES.split(old):
        if piece == "\n":
            source += r"(\r?\n)"
        elif char := _control(piece):
            source += f"({re.escape(char)}|{re.escape(piece)})"
        else:
            source += re.escape(piece)
    return source


def _place(text: str, found: re.Match[str], old: str, new: str) -> Place:
    wanted = [piece for piece in _PIECES.split(old) if piece == "\n" or _control(piece)]
    seen = [(piece, found.group(number)) for number, piece in enumerate(wanted, start=1)]
    # A piece that stands for the character in one place and for its spelling in another keeps its spelling.
    written = {piece: real for piece, real in seen if piece != "\n" and (piece, piece) not in seen}
    line_end = "\r\n" if ("\n", "\r\n") in seen else ""
    made = _SPELLED.sub(lambda spelling: written.get(spelling.group(), spelling.group()), new)
    if line_end and "\r" not in made:
        made = made.replace("\n", line_end)
    elif not line_end:
        made = _with_line_ends_of(text, made)
    return Place(found.start(), found.end(), made)


def _control(piece: str) -> str:
    """The character that `read` would have shown as `piece`; empty if it shows none so."""
    found = _SPELLED.fullmatch(piece)
    if not found:
        return ""
    char = chr(int(found.group(1) or found.group(2), 16))
    return char if CONTROLS.match(char) and not "\ud800" <= char <= "\udfff" else ""


def _with_line_ends_of(text: str, new: str) -> str:
    """`new` with the line ends of a text whose lines all end in a carriage return and a line feed."""
    lines = text.count("\n")
    if lines and lines == text.count("\r\n") and "\r" not in new:
        return new.replace("\n", "\r\n")
    return new


def line_of(text: str, index: int) -> int:
    """The number of the line of `text[index]`, from 1."""
    return text.count("\n", 0, index) + 1
