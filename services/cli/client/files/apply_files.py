"""Bringing the changes of a session into the folder of the user: all of them or none.

A file is changed only if it is as it was when it was copied, or as an earlier apply left it. Contents are read from the
workspace once and checked before they are written; in the user's folder no link is followed, `.git` and whatever was
left out of the copy are never touched, and links that lead out of the folder are not made.
"""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from holdfast.cli.client.files import trees
from holdfast.cli.client.files.changes import CannotCompare, Change, Changes
from holdfast.cli.client.files.copy_in import leaves
from holdfast.cli.client.files.trees import Entry, Unreadable
from holdfast.cli.sanitize import clean_line

NAMED: Final = 20
"""Files that a refusal names."""


class CannotApply(Exception):
    """Nothing was changed; the text says why."""


class Step(msgspec.Struct, frozen=True):
    """What one path of the user's folder becomes."""

    path: str
    want: Entry | None
    """None: it is removed."""
    expected: tuple[Entry | None, ...]
    """States from which it may become that."""
    content: Callable[[], bytes]
    """What is written. Raises CannotCompare."""


class Applied(msgspec.Struct, frozen=True):
    """What `apply` did. Paths that were already as the agent made them are in neither."""

    written: list[str]
    removed: list[str]


def steps(found: Changes, folder: str) -> list[Step]:
    """What is to do in `folder`, whose earlier applies the manifest knows. Removals come first. Reads nothing."""
    applied = found.manifest.applied.get(folder, {})
    made: dict[str, Step] = {}

    def add(path: str, want: Entry | None, before: Entry | None, content: Callable[[], bytes]) -> None:
        expected = (before, applied[path]) if path in applied else (before,)
        made[path] = Step(path, want, expected, content)

    for change in found.items:
        if change.kind in ("removed", "renamed"):
            add(change.old_path, None, change.before, bytes)
    for change in found.items:
        if change.kind != "removed":
            before = None if change.kind == "renamed" else change.before
            add(change.path, change.after, before, lambda change=change: found.new(change))
    for path in applied.keys() - made.keys() - found.unread.keys() - set(found.ignored):  # the agent took it back
        base = found.manifest.entries.get(path)
        back = Change(kind="changed", path=path, old_path=path, before=base)
        add(path, base, base, lambda back=back: found.old(back))
    return sorted(made.values(), key=lambda step: (step.want is not None, step.path))


def apply(found: Changes, folder: Path) -> Applied:
    """Make the folder hold what the agent made of it.

    Raises CannotApply, with the list of the files that stand against it; then nothing was changed.
    """
    try:
        real = folder.resolve(strict=True)
        with trees.opened(real) as top:
            todo = _check(steps(found, str(real)), top)
            with _Transaction(top) as work:
                for step in todo:
                    work.prepare(step)
                for step in todo:
                    work.commit(step)
    except (OSError, RuntimeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise CannotApply(f"nothing was changed in {clean_line(str(folder))}: {why}") from None
    except (Unreadable, CannotCompare) as exc:
        raise CannotApply(f"nothing was changed in {clean_line(str(folder))}: {exc}") from None
    _remember(found, str(real), todo)
    return Applied(
        written=[step.path for step in todo if step.want is not None],
        removed=[step.path for step in todo if step.want is None],
    )


def _remember(found: Changes, folder: str, todo: list[Step]) -> None:
    applied = found.manifest.applied.setdefault(folder, {})
    applied.update({step.path: step.want for step in todo})
    found.base.write(found.manifest)


def _check(todo: list[Step], top: int) -> list[Step]:
    """The steps that are still to do. Raises CannotApply with everything that stands against them."""
    left: list[Step] = []
    against: list[str] = []
    for step in todo:
        now = trees.look(top, step.path)
        if _same(now, step.want):
            continue
        why = _why_not(step, now)
        if why:
            against.append(f"  {clean_line(step.path)}: {why}")
        left.append(step)
    if against:
        more = [f"  … and {len(against) - NAMED} more"] if len(against) > NAMED else []
        raise CannotApply(
            "\n".join(
                [
                    "nothing was changed in your folder, because of:",
                    *against[:NAMED],
                    *more,
                    "Leave them out with --exclude, or write a patch and merge it: holdfast diff SESSION --patch FILE",
                ]
            )
        )
    return left


def _why_not(step: Step, now: Entry | None) -> str:
    if now is not None and now.kind == "unread":
        return now.why
    if not any(_same(now, entry) for entry in step.expected):
        if now is None:
            return "you removed it since it was copied"
        return (
            "it is there, but was not copied in" if step.expected == (None,) else "you changed it since it was copied"
        )
    if step.want and step.want.kind == "link" and leaves(step.path, os.fsdecode(step.content())):
        return "it is a link that leads out of the folder"
    return ""


def _same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.digest, one.executable) == (other.kind, other.digest, other.executable)


class _Transaction:
    """Changes of files below a folder, taken back if the block ends with an error.

    A new content is written to a temporary file beside its place and moved over it; a backup is kept until the end.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._mark = f".holdfast-{secrets.token_hex(6)}"
        self._prepared: dict[str, str] = {}
        """Name of the temporary file of each path."""
        self._undo: list[Callable[[], None]] = []
        self._done: list[Callable[[], None]] = []
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        todo = self._done if kind is None else self._undo[::-1]
        for action in todo:
            with suppress(OSError, Unreadable):
                action()

    def _name(self) -> str:
        self._number += 1
        return f"{self._mark}-{self._number}"

    def _unlink(self, path: str, name: str) -> None:
        with trees.parent_of(self._top, path) as folder:
            os.unlink(name, dir_fd=folder)

    def _rename(self, path: str, old: str, new: str) -> None:
        with trees.parent_of(self._top, path) as folder:
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def prepare(self, step: Step) -> None:
        """Write the new content beside its place; nothing is visible under its name yet."""
        if step.want is None:
            return
        content = step.content()
        with self._made_parent(step.path) as folder:
            temporary = self._prepared[step.path] = self._name()
            name = step.path.rpartition("/")[2]
            self._undo.append(lambda: self._unlink(step.path, temporary))
            if step.want.kind == "link":
                os.symlink(os.fsdecode(content), temporary, dir_fd=folder)
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(temporary, flags, 0o777 if step.want.executable else 0o666, dir_fd=folder)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                with suppress(FileNotFoundError):
                    os.fchmod(fd, _mode(os.stat(name, dir_fd=folder, follow_symlinks=False), step.want.executable))

    @contextmanager
    def _made_parent(self, path: str) -> Generator[int]:
        """The folder that holds `path`, made if it is missing."""
        parts = path.split("/")
        with ExitStack() as opened:
            for count in range(1, len(parts)):
                above = "/".join(parts[:count])
                folder = opened.enter_context(trees.parent_of(self._top, above))
                try:
                    os.mkdir(parts[count - 1], dir_fd=folder)
                except FileExistsError:
                    continue
                self._undo.append(lambda above=above: self._remove_folder(above))
            yield opened.enter_context(trees.parent_of(self._top, path))

    def _remove_folder(self, path: str) -> None:
        with trees.parent_of(self._top, path) as folder:
            os.rmdir(path.rpartition("/")[2], dir_fd=folder)

    def commit(self, step: Step) -> None:
        """Put the new content in its place, or remove what is there."""
        name = step.path.rpartition("/")[2]
        now = trees.look(self._top, step.path)
        if not any(_same(now, entry) for entry in step.expected):
            raise Unreadable(f"{clean_line(step.path)} was changed in this moment")
        if now is not None:
            backup = self._name()
            if step.want is None:
                self._rename(step.path, name, backup)
            else:
                self._back_up(step.path, name, backup)
            self._undo.append(lambda: self._restore(step.path, backup, name))
            self._done.append(lambda: self._unlink(step.path, backup))
        if step.want is not None:
            self._rename(step.path, self._prepared[step.path], name)
            if now is None:
                self._undo.append(lambda: self._unlink(step.path, name))
        else:
            self._done.append(lambda: self._remove_empty(step.path))

    def _back_up(self, path: str, name: str, backup: str) -> None:
        with trees.parent_of(self._top, path) as folder:
            try:
                os.link(name, backup, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as exc:
                if exc.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                    raise
                os.rename(name, backup, src_dir_fd=folder, dst_dir_fd=folder)  # a file system without hard links

    def _restore(self, path: str, backup: str, name: str) -> None:
        self._rename(path, backup, name)
        self._unlink(path, backup)  # it is still there when both are links to one file, else this does nothing

    def _remove_empty(self, path: str) -> None:
        """Remove the folders of a removed file that hold nothing any more, as git does."""
        above = path.rpartition("/")[0]
        while above:
            self._remove_folder(above)  # raises OSError when something is in it
            above = above.rpartition("/")[0]


def _mode(found: os.stat_result, executable: bool) -> int:
    """The permissions of a file that is replaced: those it had, with or without the right to execute it."""
    mode = stat.S_IMODE(found.st_mode) & 0o777 if stat.S_ISREG(found.st_mode) else 0o644
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
