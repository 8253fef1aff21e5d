"""Writes and removes several files of one folder: all of them or none. No link is followed."""

import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

import msgspec

from holdfast.cli.client.files import trees
from holdfast.cli.client.files.trees import Entry, Unreadable
from holdfast.cli.sanitize import clean_line


class Step(msgspec.Struct, frozen=True):
    """The change of one path of the folder."""

    path: str
    want: Entry | None
    """The file or link to write; None: remove the path."""
    expected: tuple[Entry | None, ...]
    """The states that the path may be in now."""
    content: Callable[[], bytes]
    """Reads the content to write. Raises CannotCompare."""


def same(one: Entry | None, other: Entry | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.digest, one.executable) == (other.kind, other.digest, other.executable)


class Transaction:
    """Changes of files below a folder, undone if the block ends with an error.

    New content is written to a temporary file beside its place and renamed over it. Backups are kept until the end.
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
        """Write the new content to a temporary file beside its place."""
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
        """Move the new content into its place, or remove the old file."""
        name = step.path.rpartition("/")[2]
        now = trees.entry_at(self._top, step.path)
        if not any(same(now, entry) for entry in step.expected):
            raise Unreadable(f"{clean_line(step.path)} was changed while the changes were applied")
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
        self._unlink(path, backup)  # rename does nothing if both are hard links of one file

    def _remove_empty(self, path: str) -> None:
        """Remove the folders of a removed file that hold nothing any more, as git does."""
        above = path.rpartition("/")[0]
        while above:
            self._remove_folder(above)  # raises OSError when something is in it
            above = above.rpartition("/")[0]


def _mode(found: os.stat_result, executable: bool) -> int:
    """The permissions of the new file: those of the old one, with or without the right to execute it."""
    mode = stat.S_IMODE(found.st_mode) & 0o777 if stat.S_ISREG(found.st_mode) else 0o644
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
