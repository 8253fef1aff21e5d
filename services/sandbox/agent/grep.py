"""The tool `grep`: lines that match a regular expression, in all files of the workspace.

Searched are hidden files too, and files that a .gitignore names, but not bulky folders (`walk.py`) and the agent's own
folder. Where the host has ripgrep it finds the files that can hold a match, by a text that every match contains
(`literals.py`); their lines are searched here. So the result is the same with and without ripgrep.
"""

from __future__ import annotations

import errno
import os
import stat

from .files import HIDDEN, joined, reason
from .inputs import REQUIRED, ToolError, checked
from .line_search import Searcher, TooSlow
from .literals import required_literal
from .regex import compiled, hints, translated
from .text import text_block
from .walk import BULKY, Walk, is_bulky, unreadable_note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Final

    from .files import Root
    from .text import Block

OUTPUT_CHARS: Final = 100 * 1024
"""Most characters of one result."""

SEARCH_S: Final = 20.0
"""Seconds after which a search is cut, so that what was found is shown before the time limit of the call."""

LITERAL_CHARS: Final = 3
"""Shorter texts are in most files, so that ripgrep would not help."""

_RIPGREP: Final = ("/usr/local/bin/rg", "/usr/bin/rg")

_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a file that was removed or replaced since it was listed."""


def grep(root: Root, given: Any, ripgrep: str | None = None, search_s: float = SEARCH_S) -> list[Block]:
    """Search. Raises ToolError.

    `ripgrep`: the path of the program, empty for none; default: that of the host. `search_s`: seconds after which the
    search is cut.
    """
    pattern, path = checked("grep", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if "\0" in pattern:
        raise ToolError("grep: the pattern cannot hold a NUL character")
    expression = compiled(pattern)
    relative = root.inside(path or root.path, "grep")
    try:
        fd = root.open(relative, os.O_PATH)
        mode = os.fstat(fd).st_mode
        os.close(fd)
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise ToolError(f"grep: {path}: not a regular file")
        literal = required_literal(translated(pattern))
        if ripgrep is None:
            ripgrep = next((program for program in _RIPGREP if os.access(program, os.X_OK)), "")
        files = _Files(root, relative, literal if len(literal) >= LITERAL_CHARS else "", ripgrep, stat.S_ISREG(mode))
    except OSError as exc:
        raise ToolError(f"grep: {reason(exc, path or root.path)}") from None
    result = _Result()
    with Searcher(expression, literal, search_s) as searcher:
        _search(root, files, searcher, result)
    result.notes.append(unreadable_note(files.unlisted()))
    if not result.lines:
        result.lines.append("no matches")
        result.notes += hints(pattern)
        if skipped := files.skipped():
            result.notes.append(f"not searched: folders called {' or '.join(sorted(skipped))}; give one as path")
    return [text_block("\n".join([*result.lines, *(f"[{note}]" for note in result.notes if note)]))]


class _Result:
    """The lines of the result, up to OUTPUT_CHARS, and notes on what was not searched."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []
        self._left = OUTPUT_CHARS

    def add(self, line: str) -> bool:
        """Whether there was room for the line."""
        self._left -= len(line) + 1
        if self._left < 0:
            self.notes.append(f"output truncated at {OUTPUT_CHARS} bytes")
            return False
        self.lines.append(line)
        return True


def _search(root: Root, files: _Files, searcher: Searcher, result: _Result) -> None:
    """Search the files one after the other until the result is full or the time is over."""
    unread: list[str] = []
    path = ""
    try:
        for path in files.paths:
            searcher.check()
            try:
                for hit in searcher.hits(root, path):
                    where = f"{root.shown(path)}:{hit.number}:{hit.text}"
                    if not result.add(where if hit.number else f"{root.shown(path)}: binary file matches"):
                        return
            except OSError as exc:
                if exc.errno not in _GONE:
                    unread.append(path)
    except TooSlow:
        result.notes.append(
            f"cut after {searcher.limit_s:g} s at {root.shown(path)}: narrow the path or simplify the pattern"
        )
    if searcher.slow:
        where, number = searcher.slow[0]
        more = f" and {len(searcher.slow) - 1} more" if len(searcher.slow) > 1 else ""
        result.notes.append(f"too slow on a long line and not searched there: {root.shown(where)}:{number}{more}")
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        result.notes.append(f"files that could not be read: {root.shown(unread[0])}{more}")


class _Files:
    """The files to search below the folder `relative`, or that file itself, sorted by path. Raises OSError."""

    def __init__(self, root: Root, relative: str, literal: str, ripgrep: str, is_file: bool) -> None:
        self._root, self._relative, self._is_file = root, relative, is_file
        self._walk: Walk | None = None
        found = (
            [relative] if is_file else _files_with(literal, root, relative, ripgrep) if ripgrep and literal else None
        )
        self.paths: Sequence[str] = sorted(self._listed() if found is None else found, key=lambda path: path.split("/"))

    def _listed(self) -> list[str]:
        walk = self._walk = Walk(self._root, self._relative, skip_bulky=not is_bulky(self._relative))
        return [joined(self._relative, name) for name, info in walk if stat.S_ISREG(info.st_mode)]

    def unlisted(self) -> list[str]:
        """Folders that could not be listed. ripgrep fails if there are any, and all is listed here."""
        return self._walk.unreadable if self._walk else []

    def skipped(self) -> set[str]:
        """Names of the bulky folders that were not searched."""
        if self._is_file:
            return set()
        if self._walk is None:
            self._listed()
        assert self._walk is not None
        return self._walk.skipped


def _files_with(literal: str, root: Root, relative: str, ripgrep: str) -> list[str] | None:
    """The same files without most of those that do not contain `literal`; None if ripgrep fails."""
    import subprocess  # noqa: PLC0415  slow to import, and only helpers need it

    skipped = [] if is_bulky(relative) else [f"!{name}/" for name in sorted(BULKY)]
    options = [
        "--no-config", "--no-ignore", "--hidden", "--text", "--fixed-strings", "--null",
        "--files-with-matches", *[word for glob in [*skipped, f"!/{HIDDEN}/"] for word in ("--glob", glob)],
    ]  # fmt: skip
    # It runs in the workspace, because the globs are relative to its folder.
    try:
        done = subprocess.run(  # noqa: S603  a fixed program; the literal follows -e
            [ripgrep, *options, "-e", os.fsencode(literal), "--", f"./{relative}"],
            cwd=root.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except OSError:  # the sandbox has as many processes as it may
        return None
    if done.returncode not in (0, 1):  # also if a folder cannot be read
        return None
    return [os.path.normpath(os.fsdecode(path)) for path in done.stdout.split(b"\0") if path]
