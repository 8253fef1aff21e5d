"""The tool `grep`: lines that match a regular expression of Python, in all text files of the workspace.

Searched are hidden files too, and files that a .gitignore names, but not `.git` folders and the agent's own folder.
Where the host has ripgrep it finds the files that can hold a match, by a text that every match contains
(`literals.py`); their lines are searched here. So the result is the same with and without ripgrep.
"""

from __future__ import annotations

import os
import re
import stat

from .files import HIDDEN, joined, reason
from .inputs import REQUIRED, ToolError, checked
from .literals import required_literal
from .text import clean, text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

    from .files import Root
    from .text import Block

OUTPUT_CHARS: Final = 100 * 1024
"""Most characters of one result."""

LINE_BYTES: Final = 2000
"""Longer lines are not searched: a slow pattern could take for ever on one."""

BINARY_PROBE_BYTES: Final = 512
"""A file with a NUL character in so many bytes at its beginning is binary and is not searched."""

SKIPPED_FOLDER: Final = ".git"
"""Name of folders that are not searched, unless the path of the call lies in one."""

LITERAL_CHARS: Final = 3
"""Shorter texts are in most files, so that ripgrep would not help."""

_RIPGREP: Final = ("/usr/local/bin/rg", "/usr/bin/rg")


def grep(root: Root, given: Any, ripgrep: str | None = None) -> list[Block]:
    """Search. Raises ToolError. `ripgrep` is the path of the program, empty for none; default: that of the host."""
    pattern, path = checked("grep", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if "\0" in pattern:
        raise ToolError("grep: the pattern cannot hold a NUL character")
    try:
        search = re.compile(pattern).search
    except re.error as exc:
        raise ToolError(f"grep: invalid regex: {exc}") from None
    relative = root.inside(path or root.path, "grep")
    try:
        fd = root.open(relative, os.O_PATH)
    except OSError as exc:
        raise ToolError(f"grep: {reason(exc, path or root.path)}") from None
    mode = os.fstat(fd).st_mode
    os.close(fd)
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ToolError(f"grep: {path}: not a regular file")
    literal = required_literal(pattern)
    if stat.S_ISREG(mode):
        paths: Iterable[str] = [relative]
    else:
        if ripgrep is None:
            ripgrep = next((program for program in _RIPGREP if os.access(program, os.X_OK)), "")
        narrowed = _files_with(literal, root, relative, ripgrep) if ripgrep and len(literal) >= LITERAL_CHARS else None
        try:
            found = _files(root, relative) if narrowed is None else narrowed
            paths = sorted(found, key=lambda path: path.split("/"))
        except OSError as exc:
            raise ToolError(f"grep: {reason(exc, path or root.path)}") from None
    hits = (
        f"{root.shown(path)}:{number}:{line}"
        for path in paths
        for number, line in _lines(root, path, literal)
        if search(line)
    )
    return [text_block(clean(_bounded(hits), terminal=False) or "no matches")]


def _bounded(hits: Iterable[str]) -> str:
    """The lines of the result, up to OUTPUT_CHARS."""
    shown: list[str] = []
    left = OUTPUT_CHARS
    for hit in hits:
        left -= len(hit) + 1
        if left < 0:
            return "\n".join(shown) + f"\n[output truncated at {OUTPUT_CHARS} bytes]"
        shown.append(hit)
    return "\n".join(shown)


def _files(root: Root, relative: str) -> Iterator[str]:
    """The regular files below the folder `relative`."""
    for name, info in root.walk(relative, skipped=SKIPPED_FOLDER):
        if stat.S_ISREG(info.st_mode):
            yield joined(relative, name)


def _files_with(literal: str, root: Root, relative: str, ripgrep: str) -> list[str] | None:
    """The same files without most of those that do not contain `literal`; None if ripgrep fails."""
    import subprocess  # noqa: PLC0415  slow to import, and only helpers need it

    options = [
        "--no-config", "--no-ignore", "--hidden", "--text", "--encoding", "none", "--fixed-strings", "--null",
        "--files-with-matches", "--glob", f"!{SKIPPED_FOLDER}/", "--glob", f"!/{HIDDEN}/",
    ]  # fmt: skip
    # It runs in the workspace, because the globs are relative to its folder.
    done = subprocess.run(  # noqa: S603  a fixed program; the literal follows -e
        [ripgrep, *options, "-e", os.fsencode(literal), "--", f"./{relative}"],
        cwd=root.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):  # also if a folder cannot be read
        return None
    return [os.path.normpath(os.fsdecode(path)) for path in done.stdout.split(b"\0") if path]


def _lines(root: Root, path: str, literal: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines of a text file that contain `literal`."""
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # removed or not readable: the search goes on without it
    needle = literal.encode("utf-8", "surrogatepass")
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or b"\0" in file.read(BINARY_PROBE_BYTES):
            return
        file.seek(0)
        number, whole = 0, True
        while line := file.readline(LINE_BYTES + 1):
            ended = line.endswith(b"\n")
            if whole:
                number += 1
                if needle in line and (ended or len(line) <= LINE_BYTES):
                    yield number, line.decode("utf-8", "replace").rstrip("\r\n")
            whole = ended
