"""Which files of a folder of the user are copied into a new session. `plan` reads and checks them, `copy_in` copies."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.files import git_ignored, trees
from holdfast.cli.client.files.selection import Reason, Selection, holds_password, matches
from holdfast.cli.client.files.trees import Node
from holdfast.cli.sanitize import clean_line

MAX_FILES: Final = 20_000
MAX_BYTES: Final = 512 * 1024 * 1024
"""Limits of a copy. A larger repository is better cloned inside the sandbox."""

_REASON_TEXTS: Final = {"made anew": "tools make them anew"}

NAMED_PATHS: Final = 5
"""Paths that one line names."""


class CannotCopy(CannotDo):
    """The folder cannot be copied into a session; the text says why."""


class CopyPlan(msgspec.Struct, kw_only=True):
    """The files to copy. Made by `plan`, which has checked that each can be read."""

    source: Path
    """Absolute."""
    files: list[str] = []
    """Regular files and links, relative to `source`."""
    folders: list[str] = []
    """Folders, each before what is in it."""
    size: int = 0
    """Bytes of all regular files."""
    left_out: dict[Reason, list[str]] = {}
    """Paths that are not copied, by reason; those of folders end with `/`."""
    outside: list[str] = []
    """Links to files outside of `source`. The link is copied, its target is not."""
    notes: list[str] = []
    """Sentences for the user."""

    @property
    def secrets(self) -> list[str]:
        """Left out because they may hold secrets."""
        return self.left_out.get("may hold secrets", [])


def plan(
    source: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = (), data: Path | None = None
) -> CopyPlan:
    """Decide which files of `source` are copied. Changes nothing.

    `include` and `exclude` are patterns as of `fnmatch`, compared with a path relative to `source`, or with each name
    in it when the pattern holds no `/`; `exclude` wins. `data` is the folder of the stack, never copied.

    Raises CannotCopy: not a folder, a file that cannot be read, too much, or a pattern that names nothing.
    """
    made = CopyPlan(source=Path(os.path.abspath(source)))  # noqa: PTH100  links stay in the name
    shown = clean_line(str(source))
    inside = _inside(made.source, data)
    try:
        ignored = git_ignored.ignored(made.source)
    except git_ignored.NoGit as exc:
        ignored = frozenset[str]()
        made.notes.append(f".gitignore is not looked at: {exc}")
    looking = _Planner(made, Selection(tuple(include), tuple(exclude), ignored), inside)
    try:
        with trees.opened(made.source) as top:
            for node in trees.walk(top, looking.enter):
                looking.at(node)
    except FileNotFoundError:
        raise CannotCopy(f"--dir {shown}: there is no such folder") from None
    except NotADirectoryError:
        raise CannotCopy(f"--dir {shown} is not a folder") from None
    except OSError as exc:
        raise CannotCopy(f"--dir {shown} cannot be read: {exc.strerror}") from None
    looking.check(shown)
    if made.secrets and ".git" in made.folders and git_ignored.any_in_history(made.source, made.secrets):
        made.notes.append("of these, .git holds what was ever committed; --exclude .git leaves the history out")
    return made


def _inside(source: Path, data: Path | None) -> str:
    """The folder of the stack relative to `source`; empty when it is elsewhere. Raises CannotCopy."""
    if data is None:
        return ""
    real, ours = source.resolve(), data.resolve()
    if real.is_relative_to(ours):
        raise CannotCopy(f"--dir {clean_line(str(source))} is in the data folder of the stack, which holds its keys")
    return str(ours.relative_to(real)) if ours.is_relative_to(real) else ""


class _Planner:
    """Fills a CopyPlan during one walk over the folder of the user."""

    def __init__(self, made: CopyPlan, selection: Selection, inside: str) -> None:
        self._plan = made
        self._selection = selection
        self._inside = inside
        self._unused = {*selection.include, *selection.exclude}
        self._unread: list[tuple[str, str]] = []

    def enter(self, path: str) -> bool:
        return path != self._inside and (
            self._selection.left_out(path, folder=True) is None or self._selection.reaches_into(path)
        )

    def at(self, node: Node) -> None:
        path, made = node.path, self._plan
        self._unused -= {glob for glob in self._unused if matches(glob, path)}
        reason = self._reason(node)
        if reason:
            if node.kind != "folder" or not self.enter(path):
                made.left_out.setdefault(reason, []).append(f"{path}/" if node.kind == "folder" else path)
            return
        if node.kind == "folder":
            made.folders.append(path)
        elif node.kind == "unread":
            self._unread.append((path, node.why))
        else:
            self._file(node)

    def _reason(self, node: Node) -> Reason | None:
        if node.path == self._inside:
            return "data of holdfast"
        reason = self._selection.left_out(node.path, folder=node.kind in ("folder", "unread"))
        return reason or ("not a file" if node.kind == "other" else None)

    def _file(self, node: Node) -> None:
        made, path = self._plan, node.path
        try:
            if node.kind == "link":
                if leads_outside(path, trees.target_of(node.name, node.folder)):
                    made.outside.append(path)
            else:
                trees.check_readable(node.name, node.folder)
                if self._has_password(node):
                    made.left_out.setdefault("may hold secrets", []).append(path)
                    return
                made.size += node.stat.st_size
            made.files.append(path)
        except trees.Unreadable as exc:
            self._unread.append((path, str(exc)))

    def _has_password(self, node: Node) -> bool:
        if not f"/{node.path}".endswith("/.git/config") or self._selection.wanted(node.path):
            return False
        return holds_password(trees.read(node.name, node.folder))

    def check(self, shown: str) -> None:
        """Raises CannotCopy."""
        made = self._plan
        if self._unread:
            path, why = self._unread[0]
            more = f" (and {len(self._unread) - 1} more like it)" if len(self._unread) > 1 else ""
            name = clean_line(path)
            raise CannotCopy(f"cannot read {name}{more}: {why}. Leave it out with --exclude '{name}'")
        if self._unused:
            raise CannotCopy(f"'{min(self._unused)}' of --include or --exclude names nothing in {shown}")
        if len(made.files) > MAX_FILES or made.size > MAX_BYTES:
            raise CannotCopy(
                f"--dir {shown} has {len(made.files)} files and {size_text(made.size)}; at most {MAX_FILES} files and "
                f"{size_text(MAX_BYTES)} can be copied. Leave some out with --exclude, or let the agent clone them"
            )


def leads_outside(path: str, target: str) -> bool:
    """Whether a link at `path` can lead out of the folder. A `..` after a name counts: that name may be a link."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return target.startswith("/") or ".." in parts[up:] or up > path.count("/")


def summary(made: CopyPlan) -> list[str]:
    """Lines to print: what is copied and what is not."""
    count = len(made.files)
    lines = [f"copying {count} {'file' if count == 1 else 'files'} ({size_text(made.size)}) from {made.source}"]
    for reason, paths in made.left_out.items():
        hint = "; --include GLOB copies them" if reason == "may hold secrets" else ""
        lines.append(f"left out ({_REASON_TEXTS.get(reason, reason)}): {named(paths)}{hint}")
    if made.outside:
        lines.append(f"links to the outside are copied as links only: {named(made.outside)}")
    return [clean_line(line) for line in [*lines, *made.notes]]


def literal(path: str) -> str:
    """A pattern that matches this path and what is below it, and nothing else."""
    top = glob.escape(path.rstrip("/"))
    return top if "/" in top else f"./{top}"


def named(paths: Sequence[str]) -> str:
    """Some paths on one line: the first few, and how many more."""
    more = f" and {len(paths) - NAMED_PATHS} more" if len(paths) > NAMED_PATHS else ""
    return ", ".join(clean_line(path) for path in paths[:NAMED_PATHS]) + more


def size_text(size: int) -> str:
    """A size in bytes for people."""
    for unit, factor in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
