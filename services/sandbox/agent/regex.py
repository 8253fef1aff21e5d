"""The dialect of the tool `grep`: that of Python, with the spellings of POSIX, GNU, Perl, Rust and JavaScript. Pure.

What Python would read as something else without a word is translated or refused, so that a pattern never looks for
what its author did not mean.
"""

from __future__ import annotations

import re
import warnings

from .character_classes import UnknownClass, end_of_set, posix_class
from .inputs import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_ESCAPES: Final = {
    "<": r"(?:<|\b(?=\w))", ">": r"(?:>|\b(?<=\w))",  # GNU: the edges of a word; Perl: the characters themselves
    "h": r"[ \t]", "z": r"\Z",
}  # fmt: skip
"""Escapes that Python does not have, or reads as the character."""

_GROUP_NAME: Final = re.compile(r"\(\?<([A-Za-z_]\w*)>")
_NAMED: Final = re.compile(r"\\k(?:<([A-Za-z_]\w*)>|\{([A-Za-z_]\w*)\}|'([A-Za-z_]\w*)')")

_HINTS: Final = (
    (re.compile(r"(?<!\\)(?:\\\\)*\\\|"), r"`\|` is a vertical bar here; alternatives are written a|b"),
    (re.compile(r"(?<!\\)(?:\\\\)*\\\{\d"), r"`\{` is a brace here; a repetition is written a{2,3}"),
    (re.compile(r"(?<!\\)(?:\\\\)*\\[nR]"), "lines are searched one by one: no pattern matches across a line end"),
    (
        re.compile(r"\S\s+--?[A-Za-z][\w=-]*$|^--?[A-Za-z][\w=-]*\s+\S"),
        "options are searched for as text; (?i) before a pattern ignores case",
    ),
)


def compiled(pattern: str) -> re.Pattern[str]:
    """The regular expression. Raises ToolError, with the cause."""
    try:
        # Python warns of sets that may mean something else in a later version.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(translated(pattern))
    except (re.error, UnknownClass, OverflowError, RecursionError) as exc:
        raise ToolError(f"grep: invalid regex: {exc or 'too deep'}") from None


def translated(pattern: str) -> str:
    """`pattern` as Python writes it. Raises UnknownClass."""
    source, at = "", 0
    while at < len(pattern):
        if pattern[at] == "\\":
            piece, at = _escape(pattern, at)
            source += piece
        elif pattern[at] == "[":
            piece, at = _set(pattern, at)
            source += piece
        elif found := _GROUP_NAME.match(pattern, at):
            source, at = f"{source}(?P<{found.group(1)}>", found.end()
        else:
            source, at = source + pattern[at], at + 1
    return source


def hints(pattern: str) -> list[str]:
    """What may have been meant by a pattern that matches nothing."""
    return [words for found, words in _HINTS if found.search(pattern)]


def _escape(pattern: str, at: int) -> tuple[str, int]:
    following = pattern[at + 1 : at + 2]
    if following == "Q":  # Perl: all up to \E means itself
        end = pattern.find(r"\E", at)
        return (re.escape(pattern[at + 2 :]), len(pattern)) if end < 0 else (re.escape(pattern[at + 2 : end]), end + 2)
    if found := _NAMED.match(pattern, at):
        return f"(?P={next(filter(None, found.groups()))})", found.end()
    return _ESCAPES.get(following, pattern[at : at + 2]), at + 2


def _set(pattern: str, at: int) -> tuple[str, int]:
    """The set that begins at `at`, and the index behind it."""
    end = end_of_set(pattern, at)
    if end < 0:
        return pattern[at:], len(pattern)  # Python says what is wrong
    inner = pattern[at + 1 : end - 1]
    if len(inner) > 2 and inner[0] == inner[-1] == ":" and inner[1:-1].isalpha():
        raise UnknownClass(f"a class of characters is written [[{inner}]], not [{inner}]")
    source, index = "[", 0
    while index < len(inner):
        posix, behind = posix_class(inner, index)
        if posix:
            source, index = source + posix, behind
        elif inner[index] == "\\":
            piece = inner[index : index + 2]
            source, index = source + (r" \t" if piece == r"\h" else piece), index + 2
        else:
            first = index == 0 or (index == 1 and inner[0] == "^")
            escaped = inner[index] == "[" or (inner[index] == "]" and first)
            source, index = source + "\\" * escaped + inner[index], index + 1
    return source + "]", end
