"""The tool `glob`: files that match a pattern, newest first."""

from __future__ import annotations

import time

from .files import reason
from .glob_pattern import hint, matcher
from .inputs import REQUIRED, ToolError, checked
from .text import text_block
from .walk import Walk, is_bulky, unreadable_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from .files import Root
    from .text import Block

RESULT_PATHS: Final = 200
"""Most paths in one result."""

SEARCH_S: Final = 20.0
"""Seconds after which a search is cut, so that what was found is shown before the time limit of the call."""

TIME_CHECK_ENTRIES: Final = 1000
"""Entries between two looks at the clock."""


class _Found:
    """The paths to show: the newest ones, those in bulky folders last."""

    def __init__(self) -> None:
        self.count = 0
        self._paths: list[tuple[bool, int, str]] = []

    def add(self, path: str, modified_ns: int) -> None:
        self.count += 1
        self._paths.append((is_bulky(path), -modified_ns, path))
        if len(self._paths) >= 20 * RESULT_PATHS:
            self.paths()

    def paths(self) -> list[str]:
        self._paths.sort()
        del self._paths[RESULT_PATHS:]
        return [path for _, _, path in self._paths]


def glob(root: Root, given: Any, search_s: float = SEARCH_S) -> list[Block]:
    """List the files and folders that match. Raises ToolError. `search_s`: seconds after which the search is cut."""
    pattern, path = checked("glob", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if path is None and pattern.startswith(f"{root.path}/"):
        pattern = pattern[len(root.path) + 1 :]
    matches = matcher(pattern)
    relative = root.inside(path or root.path, "glob")
    found, notes = _Found(), list[str]()
    ends_at = time.monotonic() + search_s
    try:
        walk = Walk(root, relative)
        for seen, (name, info) in enumerate(walk):
            if seen % TIME_CHECK_ENTRIES == 0 and time.monotonic() > ends_at:
                notes.append(f"cut after {search_s:g} s and {seen} files and folders: narrow the path")
                break
            if matches(f"/{name}"):
                found.add(name, info.st_mtime_ns)
    except OSError as exc:
        raise ToolError(f"glob: {reason(exc, path or root.path)}") from None
    notes.append(unreadable_note(walk.unreadable))
    if not found.count:
        notes.append(hint(pattern))
    lines = [f"{root.shown(relative)}/{name}" for name in found.paths()] or ["no matches"]
    if found.count > RESULT_PATHS:
        notes.insert(0, f"{RESULT_PATHS} of {found.count} paths shown, the newest; narrow the pattern or the path")
    return [text_block("\n".join([*lines, *(f"[{note}]" for note in notes if note)]))]
