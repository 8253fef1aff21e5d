"""The tool `glob`: files that match a pattern, newest first."""

from __future__ import annotations

import re

from .files import WALK_LIMIT, reason
from .inputs import REQUIRED, ToolError, checked
from .text import clean, text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .files import Root
    from .text import Block

RESULT_PATHS: Final = 200
"""Most paths in one result."""

BRACE_ALTERNATIVES: Final = 64
"""Most alternatives in one pair of braces; the others are ignored."""


def glob(root: Root, given: Any) -> list[Block]:
    """List the files and folders that match. Raises ToolError."""
    pattern, path = checked("glob", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    matches = matcher(pattern)
    relative = root.inside(path or root.path, "glob")
    found: list[tuple[int, str]] = []
    try:
        for seen, (name, info) in enumerate(root.walk(relative)):
            if seen >= WALK_LIMIT:
                break
            if matches(f"/{name}"):
                found.append((-info.st_mtime_ns, name))
    except OSError as exc:
        raise ToolError(f"glob: {reason(exc, path or root.path)}") from None
    if not found:
        return [text_block("no matches")]
    found.sort()
    lines = [f"{root.shown(relative)}/{name}" for _, name in found[:RESULT_PATHS]]
    if len(found) > RESULT_PATHS:
        lines.append(f"[{RESULT_PATHS} of {len(found)} paths shown, the newest; narrow the pattern or the path]")
    return [text_block(clean("\n".join(lines), terminal=False))]


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tells whether a path (with a leading slash) matches `pattern`. Raises ToolError.

    A pattern without a slash matches at every depth, as in the hosted tool.
    """
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
            source += "/(?:" + "|".join(_expression(alternative) for alternative in _alternatives(part)) + ")"
    try:
        return re.compile(source + r"\Z").match
    except re.error as exc:
        raise ToolError(f"glob: malformed pattern: {exc}") from None


def _alternatives(part: str) -> list[str]:
    """The patterns that the first pair of braces in `part` stands for, as in `*.{py,md}`."""
    start, end = part.find("{"), part.find("}")
    if 0 <= start < end and "," in part[start:end]:
        return [
            part[:start] + choice + part[end + 1 :] for choice in part[start + 1 : end].split(",")[:BRACE_ALTERNATIVES]
        ]
    return [part]


def _expression(part: str) -> str:
    """The regular expression for a part with `*`, `?` and `[...]`."""
    source, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            source += "" if source.endswith("[^/]*") else "[^/]*"
        elif char == "?":
            source += "[^/]"
        elif char == "[" and "]" in part[at + 1 :]:
            end = part.index("]", at + 1)
            inner = part[at:end].replace("\\", r"\\").replace("[", r"\[")
            source += "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]"
            at = end + 1
        else:
            source += re.escape(char)
    return source
