"""A tool call and its result as a person reads them. Pure."""

from collections.abc import Mapping
from typing import Any, Final

MAX_LINES: Final = 4
"""Lines of an edit or of a result that are shown."""

_MAIN_ARGUMENT: Final = {"bash": "command", "read": "file_path", "write": "file_path", "edit": "file_path",
                "glob": "pattern", "grep": "pattern"}  # fmt: skip
"""The argument of each built-in tool that stands for the call."""


def call_lines(name: str, given: Mapping[str, Any]) -> list[str]:
    """`Edit(slug.py)`, and below it what is taken away and what is added."""
    main = str(given.get(_MAIN_ARGUMENT.get(name, ""), "")) or ", ".join(
        f"{key}: {value}" for key, value in given.items()
    )
    first = main.strip().splitlines() or [""]
    more = " …" if len(first) > 1 else ""
    lines = [f"{name.capitalize()}({first[0]}{more})"]
    if name == "edit":
        old, new = str(given.get("old_string", "")), str(given.get("new_string", ""))
        lines += _shorten(
            [*(f"- {line.strip()}" for line in old.splitlines()), *(f"+ {line.strip()}" for line in new.splitlines())]
        )
    if name == "write":
        lines[0] += f" {len(str(given.get('content', '')).splitlines())} lines"
    return lines


def result_lines(text: str) -> list[str]:
    """The first lines of a result without rules and blank lines, and its last one."""
    return _shorten([line.strip() for line in text.splitlines() if line.strip(" -=.\t")])


def _shorten(lines: list[str]) -> list[str]:
    if len(lines) <= MAX_LINES:
        return lines
    left_out = len(lines) - MAX_LINES + 1
    return [*lines[: MAX_LINES - 2], f"… {left_out} more lines", lines[-1]]
