"""The changes of a session: the difference between its base and its workspace."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final, Literal

import msgspec

from holdfast.cli.client.errors import CannotDo
from holdfast.cli.client.files import git_ignored, trees
from holdfast.cli.client.files.base import Base, Manifest
from holdfast.cli.client.files.selection import REPRODUCIBLE_FOLDERS
from holdfast.cli.client.files.trees import Entry
from holdfast.cli.sanitize import clean_line

MAX_FILES: Final = 200_000
"""Most files of a workspace that are compared."""

SUMMARY_CHANGES: Final = 12
"""Changes that a summary names."""

MAX_REFLOG_BYTES: Final = 16 * 1024 * 1024
"""Largest reflog of git that is read."""

GIT: Final = ".git"

Kind = Literal["changed", "new", "removed", "renamed", "mode"]
"""`mode`: only the right to execute the file changed."""


class CannotCompare(CannotDo):
    """The workspace cannot be read; the text says why."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One file. `before` is None for a new one, `after` for a removed one."""

    kind: Kind
    path: str
    """Relative to the workspace; after a rename the new name."""
    old_path: str
    """The name before a rename, else the same as `path`."""
    before: Entry | None = None
    after: Entry | None = None


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """All changes of a session, sorted by path."""

    base: Base
    manifest: Manifest
    items: list[Change]
    unread: dict[str, str]
    """Paths in the workspace that could not be compared, with the reason."""
    ignored: list[str]
    """New files that git would ignore in the folder of the user. They are not among `items`."""
    commits: int
    """Commits that the agent made in its copy of the repository."""

    def old(self, change: Change) -> bytes:
        """The content before, or the target of a link; empty for a new file. Raises CannotCompare."""
        if change.before is None:
            return b""
        try:
            return self.base.content(change.before.digest)
        except OSError:
            raise CannotCompare(f"the copy of {clean_line(change.old_path)} at the start is gone") from None

    def new(self, change: Change) -> bytes:
        """The content now, or the target of a link; empty for a removed file. Raises CannotCompare."""
        entry = change.after
        if entry is None:
            return b""
        try:
            with trees.opened(self.base.workspace) as top, trees.parent_of(top, change.path) as folder:
                name = change.path.rpartition("/")[2]
                if entry.kind == "link":
                    content = os.fsencode(trees.target_of(name, folder))
                else:
                    content = trees.read(name, folder)
        except (OSError, trees.Unreadable) as exc:
            raise CannotCompare(f"cannot read {clean_line(change.path)} of the session: {exc}") from None
        if hashlib.sha256(content).hexdigest() != entry.digest:
            raise CannotCompare(f"{clean_line(change.path)} is being changed. Wait until the session is idle.")
        return content


def changes(base: Base) -> Changes:
    """Compare the workspace with what was copied in. Changes nothing.

    Left out: `.git` folders, folders that tools make anew, what was left out of the copy, and new files that git
    ignores in the folder of the user. Raises CannotCompare.
    """
    manifest = base.read()
    now, unread = _now(base, manifest)
    before = {
        path: entry for path, entry in manifest.entries.items() if not _in_git(path) and not _at_or_below(path, unread)
    }
    fresh = now.keys() - before.keys()
    ignored = git_ignored.among(Path(manifest.source), fresh) if manifest.source else frozenset[str]()
    now = {path: entry for path, entry in now.items() if path not in ignored}
    return Changes(
        base=base,
        manifest=manifest,
        items=compare(before, now),
        unread=unread,
        ignored=sorted(ignored),
        commits=_commits(base, manifest),
    )


def compare(before: Mapping[str, Entry], now: Mapping[str, Entry]) -> list[Change]:
    """The changes between two states, sorted by path. Pure.

    A new file with the same content as a removed one is a renamed file; files that were also edited are not found.
    """
    made: list[Change] = []
    for path in before.keys() & now.keys():
        old, new = before[path], now[path]
        if (old.kind, old.digest) != (new.kind, new.digest):
            made.append(Change(kind="changed", path=path, old_path=path, before=old, after=new))
        elif old.executable != new.executable:
            made.append(Change(kind="mode", path=path, old_path=path, before=old, after=new))
    removed: dict[tuple[str, str], list[str]] = {}
    for path in sorted(before.keys() - now.keys(), reverse=True):
        removed.setdefault((before[path].kind, before[path].digest), []).append(path)
    for path in sorted(now.keys() - before.keys()):
        new = now[path]
        same = removed.get((new.kind, new.digest)) if new.size else None
        if same:
            old_path = same.pop()
            made.append(Change(kind="renamed", path=path, old_path=old_path, before=before[old_path], after=new))
        else:
            made.append(Change(kind="new", path=path, old_path=path, after=new))
    made += [
        Change(kind="removed", path=path, old_path=path, before=before[path])
        for paths in removed.values()
        for path in paths
    ]
    return sorted(made, key=lambda change: change.path)


def _now(base: Base, manifest: Manifest) -> tuple[dict[str, Entry], dict[str, str]]:
    """The files of the workspace, and what could not be read with the reason."""
    left_out = frozenset(path.rstrip("/") for path in manifest.left_out)
    copied = {str(folder) for path in manifest.entries for folder in PurePath(path).parents}

    def enter(path: str) -> bool:
        name = path.rpartition("/")[2]
        return path not in left_out and name != GIT and (name not in REPRODUCIBLE_FOLDERS or path in copied)

    found: dict[str, Entry] = {}
    unread: dict[str, str] = {}
    try:
        with trees.opened(base.workspace) as top:
            for node in trees.walk(top, enter):
                if node.kind == "folder" or node.path in left_out or node.name == GIT:
                    continue
                entry = trees.entry_of(node)
                if entry.kind == "unread":
                    unread[node.path] = entry.why
                else:
                    found[node.path] = entry
                if len(found) > MAX_FILES:
                    raise CannotCompare(f"the session has more than {MAX_FILES} files: look at {base.workspace}")
    except FileNotFoundError:
        if manifest.entries:
            raise CannotCompare(f"the files of the session are gone: there is no {base.workspace}") from None
    except OSError as exc:
        raise CannotCompare(f"cannot read {base.workspace}: {exc.strerror}") from None
    return found, unread


def _in_git(path: str) -> bool:
    return GIT in path.split("/")


def _at_or_below(path: str, tops: Mapping[str, str]) -> bool:
    parts = path.split("/")
    return bool(tops) and any("/".join(parts[:n]) in tops for n in range(1, len(parts) + 1))


def _commits(base: Base, manifest: Manifest) -> int:
    """How many commits the agent made, by the reflog of the copy."""
    path = f"{GIT}/logs/HEAD"
    before = manifest.entries.get(path)
    try:
        with trees.opened(base.workspace) as top, trees.parent_of(top, path) as folder:
            now = trees.read("HEAD", folder, MAX_REFLOG_BYTES)
        old = base.content(before.digest) if before else b""
    except (OSError, trees.Unreadable):
        return 0
    lines = now.removeprefix(old).split(b"\n") if now.startswith(old) else []
    return sum(b"\tcommit" in line for line in lines)


def lines(found: Changes, limit: int = SUMMARY_CHANGES) -> list[str]:
    """Lines to print: one for each change, at most `limit`, then the notes."""
    made = [line(change) for change in found.items[:limit]]
    if len(found.items) > limit:
        made.append(f"  … and {len(found.items) - limit} more")
    return (made or ["  nothing changed"]) + notes(found)


def line(change: Change) -> str:
    """One change on one line, safe to print."""
    match change.kind:
        case "renamed":
            return f"  renamed  {clean_line(change.old_path)} → {clean_line(change.path)}"
        case "mode":
            now = "executable" if change.after and change.after.executable else "not executable"
            return f"  mode     {clean_line(change.path)} (now {now})"
        case kind:
            return f"  {kind:<7}  {clean_line(change.path)}"


def notes(found: Changes) -> list[str]:
    """Lines to print about work of the agent that is not among the changes: commits, unread and ignored files."""
    made: list[str] = []
    if found.commits:
        count = f"{found.commits} new commit{'s' if found.commits > 1 else ''}"
        made.append(f"  .git     {count}, only in the agent's copy; the files are brought back, the commits are not")
    for path, why in list(found.unread.items())[:3]:
        made.append(f"  not read {clean_line(path)} ({clean_line(why)})")
    if len(found.unread) > 3:
        made.append(f"  not read … and {len(found.unread) - 3} more")
    if found.ignored:
        count = len(found.ignored)
        made.append(f"  ignored  {count} new file{'s' if count > 1 else ''} that git ignores in your folder")
    return made
