"""Asks the `git` program which files of a folder it ignores. Outside of a repository it ignores none."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

GIT_TIMEOUT_S: Final = 60.0

_SAFE_OPTIONS: Final = ("-c", "core.fsmonitor=false")
"""With these options git runs no program that the configuration of the repository names."""


_WHOLE_FOLDER: Final = b"./"
"""The answer of git if the folder itself is ignored."""


class NoGit(Exception):
    """Git cannot say what it ignores although the folder has a `.git`; the message says why."""


def is_repository(folder: Path) -> bool:
    """Whether `folder` or a folder above it holds a `.git`."""
    return any(os.path.lexists(above / ".git") for above in (folder, *folder.parents))


def prefix(folder: Path) -> str:
    """The path of `folder` below the top of its repository, with `/` at its end; empty at the top or without one."""
    for above in (folder, *folder.parents):
        if os.path.lexists(above / ".git"):
            return f"{folder.relative_to(above)}/" if above != folder else ""
    return ""


def ignored(folder: Path) -> frozenset[str]:
    """Ignored paths below `folder`, relative to it; a folder that is ignored whole is one path that ends with `/`.

    Empty when `folder` as a whole is ignored: it was asked for by name. Raises NoGit.
    """
    if not is_repository(folder):
        return frozenset()
    found = _ignored(folder)
    return frozenset() if found == [_WHOLE_FOLDER] else frozenset(map(os.fsdecode, found))


def among(folder: Path, paths: Iterable[str]) -> frozenset[str]:
    """Those of `paths`, relative to `folder`, that git ignores there; they need not exist.

    Empty when git cannot say, and when `folder` as a whole is ignored.
    """
    given = b"".join(os.fsencode(path) + b"\0" for path in paths)
    if not given or not is_repository(folder):
        return frozenset()
    try:
        if _ignored(folder) == [_WHOLE_FOLDER]:
            return frozenset()
        found = _git(folder, "check-ignore", "-z", "--stdin", given=given, fine=(0, 1))
    except NoGit:
        return frozenset()
    return frozenset(os.fsdecode(path) for path in found.split(b"\0") if path)


def any_in_history(folder: Path, paths: Iterable[str]) -> bool:
    """Whether a commit of any branch holds one of `paths`, which are relative to `folder`. False if git cannot say."""
    try:
        found = _git(folder, "--literal-pathspecs", "log", "--all", "-1", "--format=%h", "--", *paths)
    except NoGit:
        return False
    return bool(found.strip())


def _ignored(folder: Path) -> list[bytes]:
    found = _git(folder, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    return [path for path in found.split(b"\0") if path]


def _git(folder: Path, *arguments: str, given: bytes = b"", fine: tuple[int, ...] = (0,)) -> bytes:
    program = shutil.which("git")
    if program is None:
        raise NoGit("git is not installed")
    environ = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603  a fixed program, no shell
            [program, "-C", str(folder), *_SAFE_OPTIONS, *arguments],
            input=given, capture_output=True, timeout=GIT_TIMEOUT_S, env=environ, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NoGit(f"git did not answer: {exc}") from None
    if done.returncode not in fine:
        raise NoGit(next(iter(done.stderr.decode(errors="replace").splitlines()), f"exit code {done.returncode}"))
    return done.stdout
