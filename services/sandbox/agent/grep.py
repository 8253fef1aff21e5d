"""The tool `grep`: lines that match a regular expression, by ripgrep where the host has it."""

from __future__ import annotations

import os
import re
import stat

from .files import WALK_LIMIT, joined, reason
from .inputs import REQUIRED, ToolError, checked
from .text import clean, text_block

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from .files import Root
    from .text import Block

OUTPUT_LIMIT: Final = 100 * 1024
"""Characters of one result."""

LINE_LIMIT: Final = 2000
"""Longer lines are not searched: a slow pattern on one would take for ever."""

SKIPPED: Final = {".git", "node_modules"}
"""Folders that the search of ours does not enter; ripgrep has rules of its own."""

_RIPGREP: Final = ("/usr/local/bin/rg", "/usr/bin/rg")


def grep(root: Root, given: Any) -> list[Block]:
    """Search. Raises ToolError."""
    pattern, path = checked("grep", given, {"pattern": (str, REQUIRED), "path": (str, None)})
    if "\0" in pattern:
        raise ToolError("grep: the pattern cannot hold a NUL character")
    relative = root.inside(path or root.path, "grep")
    try:
        fd = root.open(relative, os.O_PATH)
    except OSError as exc:
        raise ToolError(f"grep: {reason(exc, path or root.path)}") from None
    mode = os.fstat(fd).st_mode
    os.close(fd)
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise ToolError(f"grep: {path}: not a regular file")
    ripgrep = next((program for program in _RIPGREP if os.access(program, os.X_OK)), None)
    if ripgrep:
        found = _by_ripgrep(ripgrep, pattern, root.shown(relative))
    else:
        found = _by_hand(root, relative, pattern, folder=stat.S_ISDIR(mode))
    return [text_block(clean(found, terminal=False) or "no matches")]


def _by_ripgrep(program: str, pattern: str, where: str) -> str:
    import subprocess  # noqa: PLC0415  slow to load, and this is a process of its own

    options = ["--no-config", "-n", "--no-heading", "--with-filename", "-M", str(LINE_LIMIT), "-g", "!.holdfast"]
    with subprocess.Popen(  # noqa: S603  a fixed program; the pattern follows -e
        [program, *options, "-e", pattern, "--", where],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        out = process.stdout.read(OUTPUT_LIMIT + 1)
        if len(out) > OUTPUT_LIMIT:
            process.kill()
            return out[:OUTPUT_LIMIT].decode("utf-8", "replace") + _cut()
        failure = process.stderr.read(4096).decode("utf-8", "replace").strip()
    if process.returncode not in (0, 1):
        raise ToolError(f"grep: rg failed: {failure}")
    return out.decode("utf-8", "replace")


def _by_hand(root: Root, relative: str, pattern: str, *, folder: bool) -> str:
    try:
        search = re.compile(pattern).search
    except re.error as exc:
        raise ToolError(f"grep: invalid regex: {exc}") from None
    hits: list[str] = []
    left = OUTPUT_LIMIT
    for path in _searched(root, relative) if folder else [relative]:
        for number, line in _lines(root, path):
            if search(line):
                hit = f"{root.shown(path)}:{number}:{line}"
                left -= len(hit) + 1
                if left < 0:
                    return "\n".join(hits) + _cut()
                hits.append(hit)
    return "\n".join(hits)


def _searched(root: Root, relative: str) -> Iterator[str]:
    for seen, (name, info) in enumerate(root.walk(relative)):
        if seen >= WALK_LIMIT:
            return
        if stat.S_ISREG(info.st_mode) and not SKIPPED.intersection(name.split("/")):
            yield joined(relative, name)


def _lines(root: Root, path: str) -> Iterator[tuple[int, str]]:
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return  # gone or not readable: the search goes on without it
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode) or b"\0" in file.read(512):
            return
        file.seek(0)
        number, whole = 0, True
        while line := file.readline(LINE_LIMIT + 1):
            ended = line.endswith(b"\n")
            if whole:
                number += 1
                if ended or len(line) <= LINE_LIMIT:
                    yield number, line.decode("utf-8", "replace").rstrip("\r\n")
            whole = ended


def _cut() -> str:
    return f"\n[output truncated at {OUTPUT_LIMIT} bytes]"
