"""Reading a folder whose files may be changed by others at the same time, such as the workspace of a sandbox.

Every file is opened relative to the file descriptor of its folder, and no symbolic link is ever followed: a path that
is swapped for a link while it is read gives an error or an `unread` entry, never a file outside of the folder.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

MAX_DEPTH: Final = 100
"""Levels of folders that are read."""

MAX_FILE_BYTES: Final = 512 * 1024 * 1024
"""Largest file that is read."""

CHUNK_BYTES: Final = 1024 * 1024

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unreadable(Exception):
    """A file cannot be read; the message says why, without its name."""


class Missing(Unreadable):
    """There is nothing of that name."""


class Node(msgspec.Struct, frozen=True):
    """Something in a folder, valid until the walk goes on. `path` is relative to the top of the walk."""

    path: str
    kind: Literal["file", "link", "folder", "other", "unread"]
    folder: int
    """File descriptor of the folder that holds it."""
    stat: os.stat_result
    why: str = ""
    """Why a folder was not read, or what `other` is."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Entry(msgspec.Struct, frozen=True):
    """A file or link as it is compared: by content, target and whether it may be executed."""

    kind: Literal["file", "link", "unread"]
    digest: str = ""
    """SHA-256 of the content, or of the target of a link, as hexadecimal digits."""
    executable: bool = False
    size: int = 0
    """Bytes of the content, or of the target."""
    why: str = ""
    """Why it was not read."""


@contextmanager
def opened(folder: Path) -> Generator[int]:
    """The file descriptor of a folder, closed at the end. Raises OSError. `folder` itself may be a link."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def walk(top: int, enter: Callable[[str], bool]) -> Iterator[Node]:
    """Everything below the folder `top`, sorted by name, a folder before its content.

    `enter(path)` says whether a folder is looked into. Folders that cannot be read are `unread`.
    """
    waiting: list[tuple[int, str, list[str]]] = [(os.dup(top), "", _names(top))]
    try:
        while waiting:
            fd, above, names = waiting[-1]
            if not names:
                os.close(waiting.pop()[0])
                continue
            path = above + names.pop()
            node = _node(fd, path)
            if node is None:
                continue
            if node.kind != "folder" or not enter(path):
                yield node
                continue
            if len(waiting) >= MAX_DEPTH:
                yield Node(path, "unread", fd, node.stat, f"it is more than {MAX_DEPTH} folders deep")
                continue
            try:
                inner = _open(node.name, _FOLDER, fd)
            except Unreadable as exc:
                yield Node(path, "unread", fd, node.stat, str(exc))
                continue
            waiting.append((inner, f"{path}/", _names(inner)))
            yield node
    finally:
        for fd, _, _ in waiting:
            os.close(fd)


def _names(fd: int) -> list[str]:
    return sorted(os.listdir(fd), reverse=True)


def _node(fd: int, path: str) -> Node | None:
    """What is at that path; None when it has just been removed."""
    try:
        found = os.stat(path.rpartition("/")[2], dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        return Node(path, "folder", fd, found)
    if stat.S_ISREG(mode):
        return Node(path, "file", fd, found)
    if stat.S_ISLNK(mode):
        return Node(path, "link", fd, found)
    what = {stat.S_IFIFO: "a fifo", stat.S_IFSOCK: "a socket"}.get(stat.S_IFMT(mode), "a device")
    return Node(path, "other", fd, found, what)


def _open(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError as exc:
        raise Missing(str(exc.strerror)) from None
    except OSError as exc:
        is_link = exc.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, folder)
        raise Unreadable("it is a link" if is_link else str(exc.strerror)) from None


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


def chunks(name: str, folder: int, most: int = MAX_FILE_BYTES) -> Iterator[bytes]:
    """The content of the regular file `name` in the folder of that descriptor. Raises Unreadable."""
    fd = _open(name, _FILE, folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable("it is not a regular file")
        too_large = Unreadable(f"it is larger than {most // 1024 // 1024} MB")
        if os.fstat(fd).st_size > most:
            raise too_large
        left = most
        while data := os.read(fd, CHUNK_BYTES):
            left -= len(data)
            if left < 0:
                raise too_large
            yield data
    except OSError as exc:
        raise Unreadable(str(exc.strerror)) from None
    finally:
        os.close(fd)


def check_readable(name: str, folder: int) -> None:
    """Raises Unreadable unless `name` in the folder of that descriptor is a regular file that can be opened."""
    fd = _open(name, _FILE, folder)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Unreadable("it is not a regular file")
    finally:
        os.close(fd)


def read(name: str, folder: int, most: int = MAX_FILE_BYTES) -> bytes:
    """The whole content of a regular file. Raises Unreadable."""
    return b"".join(chunks(name, folder, most))


def target_of(name: str, folder: int) -> str:
    """Where a link points to. Raises Unreadable."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as exc:
        raise Unreadable(str(exc.strerror)) from None


def entry_of(node: Node) -> Entry:
    """A file, link, or something else as it is compared."""
    try:
        if node.kind == "link":
            target = os.fsencode(target_of(node.name, node.folder))
            return Entry("link", hashlib.sha256(target).hexdigest(), False, len(target))
        if node.kind != "file":
            return Entry("unread", why=node.why)
        digest, size = hashlib.sha256(), 0
        for data in chunks(node.name, node.folder):
            digest.update(data)
            size += len(data)
        return Entry("file", digest.hexdigest(), bool(node.stat.st_mode & stat.S_IXUSR), size)
    except Unreadable as exc:
        return Entry("unread", why=str(exc))


@contextmanager
def parent_of(top: int, path: str) -> Generator[int]:
    """The file descriptor of the folder that holds `path`, without following any link.

    Raises Missing, or Unreadable when a folder on the way is a link or cannot be opened.
    """
    fd = os.dup(top)
    try:
        for name in path.split("/")[:-1]:
            if name in ("", ".", ".."):
                raise Unreadable("it is not a path in this folder")
            inner = _open(name, _FOLDER, fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def entry_at(top: int, path: str) -> Entry | None:
    """What is at `path` now; None if there is nothing. A folder is `unread`, and so is a path behind a link."""
    try:
        with parent_of(top, path) as folder:
            node = _node(folder, path)
            if node is None:
                return None
            return Entry("unread", why="it is a folder") if node.kind == "folder" else entry_of(node)
    except Missing:
        return None
    except Unreadable as exc:
        return Entry("unread", why=f"on the way to it: {exc}")
