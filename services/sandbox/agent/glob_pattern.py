"""The dialect of the tool `glob`: that of bash, with `**` and braces. Pure.

`*` and `?` match within a name, `**` as a whole part matches any number of folders, `[a-z]`, `[!a]` and `[[:digit:]]`
one character, `{a,b}` and `{1..9}` one of several texts, which may be nested and hold slashes. A backslash takes the
meaning from the next character. Brackets match what they spell too, because there are names such as `[id].tsx`.
"""

from __future__ import annotations

import re

from .character_classes import UnknownClass, end_of_set, posix_class
from .inputs import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

ALTERNATIVES: Final = 1000
"""Most patterns that the braces of one pattern may stand for."""

_RANGE: Final = re.compile(r"(-?\d{1,6})\.\.(-?\d{1,6})|([a-zA-Z])\.\.([a-zA-Z])")

_HINTS: Final = (
    (re.compile(r"[!+@?*]\("), "patterns such as !(a) and +(a|b) mean themselves here; alternatives are written {a,b}"),
    (re.compile(r"\\\w"), r"`\` takes the meaning from the next character here; folders are parted by /"),
    (re.compile(r"""^(['"`]).*\1$"""), "quotes mean themselves here"),
)


def hint(pattern: str) -> str:
    """What to tell of a pattern that matches nothing, if it looks like one of another dialect; else empty."""
    return next((words for looks, words in _HINTS if looks.search(pattern)), "")


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tells whether a path (with a leading slash) matches `pattern`. Raises ToolError.

    A pattern without a slash matches at every depth, as in the hosted tool.
    """
    try:
        return re.compile("(?:" + "|".join(_path(one) for one in expanded(pattern)) + r")\Z").match
    except (re.error, UnknownClass) as exc:
        raise ToolError(f"glob: malformed pattern: {exc}") from None


def expanded(pattern: str) -> list[str]:
    """The patterns without braces that `pattern` stands for. Raises ToolError if they are too many."""
    found = _expanded(pattern)
    if len(found) > ALTERNATIVES:
        raise ToolError(f"glob: the braces stand for more than {ALTERNATIVES} patterns")
    return found


def _expanded(pattern: str) -> list[str]:
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
        elif pattern[at] == "{" and (group := _group(pattern, at)):
            choices, end = group
            heads = [choice for one in choices for choice in _expanded(one)]
            tails = _expanded(pattern[end:])
            if len(heads) * len(tails) > ALTERNATIVES:
                raise ToolError(f"glob: the braces stand for more than {ALTERNATIVES} patterns")
            return [pattern[:at] + head + tail for head in heads for tail in tails]
        at += 1
    return [pattern]


def _group(pattern: str, at: int) -> tuple[list[str], int] | None:
    """The choices of the braces that open at `at`, and the index behind them; None if they mean themselves."""
    depth, start = 0, at + 1
    choices: list[str] = []
    for index, char in _unescaped(pattern, at):
        if char == "{":
            depth += 1
        elif char == "," and depth == 1:
            choices.append(pattern[start:index])
            start = index + 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                choices.append(pattern[start:index])
                choices = choices if len(choices) > 1 else _range(choices[0])
                return (choices, index + 1) if choices else None
    return None


def _unescaped(pattern: str, at: int) -> list[tuple[int, str]]:
    return [
        (index, pattern[index])
        for index in range(at, len(pattern))
        if index == at or pattern[index - 1] != "\\" or pattern[index - 2 : index] == "\\\\"
    ]


def _range(text: str) -> list[str]:
    found = _RANGE.fullmatch(text)
    if not found:
        return []
    numbers = found.group(1) is not None
    first, last = (int(found.group(1)), int(found.group(2))) if numbers else (ord(found.group(3)), ord(found.group(4)))
    if abs(last - first) >= ALTERNATIVES:
        raise ToolError(f"glob: the braces stand for more than {ALTERNATIVES} patterns")
    values = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    return [str(value) if numbers else chr(value) for value in values]


def _path(pattern: str) -> str:
    """The regular expression for one pattern without braces."""
    if pattern.startswith("/"):
        raise ToolError("glob: absolute pattern not permitted; pass a relative pattern (and optionally path)")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise ToolError("glob: pattern is required")
    if ".." in parts:
        raise ToolError("glob: '..' is not permitted in the pattern")
    if len(parts) == 1 and parts[0] != "**":
        parts = ["**", *parts]
    source = ""
    for index, part in enumerate(parts):
        if part == "**":
            source += r"(?:/[^/]+)*" if index < len(parts) - 1 else r"(?:/[^/]+)+"
        else:
            source += f"/{_name(part)}"
    return source


def _name(part: str) -> str:
    """The regular expression for one part of a path."""
    source, at = "", 0
    while at < len(part):
        char = part[at]
        if char == "[" and (end := end_of_set(part, at, negations="!^")) > 0:
            source += f"(?:{_set(part[at + 1 : end - 1])}|{re.escape(part[at:end])})"
            at = end
            continue
        at += 1
        if char == "*":
            source += "" if source.endswith("[^/]*") else "[^/]*"
        elif char == "?":
            source += "[^/]"
        elif char == "\\" and at < len(part):
            source += re.escape(part[at])
            at += 1
        else:
            source += re.escape(char)
    return source


def _set(inner: str) -> str:
    """The regular expression for the characters between two brackets."""
    negated = inner[0] in "!^"
    source, at = "", int(negated)
    while at < len(inner):
        posix, end = posix_class(inner, at)
        if posix:
            source, at = source + posix, end
        elif inner[at] == "\\" and at + 1 < len(inner):
            source, at = source + re.escape(inner[at + 1]), at + 2
        else:
            source, at = source + (inner[at] if inner[at] == "-" else re.escape(inner[at])), at + 1
    return f"[^/{source}]" if negated else f"[{source}]"
