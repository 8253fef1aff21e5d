"""Files of the workspace, never outside of it, whatever is swapped for a link while we look."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct

from .inputs import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

WORKSPACE: Final = "/workspace"
HIDDEN: Final = ".holdfast"
"""Our own folder in the workspace: the home directory, and outputs that were too long to show."""

WALK_LIMIT: Final = 50_000
"""Entries looked at by one search."""

_OPENAT2: Final = 437
_RESOLVE: Final = 0x08 | 0x02
"""RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS: the kernel itself refuses every way out."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall

_WORDS: Final = {
    errno.ENOENT: "no such file or directory",
    errno.ENOTDIR: "not a directory",
    errno.EISDIR: "is a directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "permission denied",
    errno.EEXIST: "file already exists",
    errno.ELOOP: "too many levels of symbolic links",
    errno.ENXIO: "not a regular file",
    errno.ENODEV: "not a regular file",
    errno.EXDEV: "leads outside the session's working directory (links must be relative and stay inside)",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left",
    errno.EFBIG: "larger than a file may be here",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EMFILE: "too many open files",
}


def open_beneath(root: int, path: str, flags: int, mode: int = 0o644) -> int:
    """Open `path` below the folder `root` (a descriptor). Raises OSError; EXDEV when the path leads outside."""
    # The kernel refuses flags that mean nothing together.
    flags |= os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NOCTTY)
    how = struct.pack("QQQ", flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
    while True:
        fd = int(_syscall(_OPENAT2, root, os.fsencode(path), how, len(how)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: something was renamed while the kernel looked
            raise OSError(code, os.strerror(code), path)


class Root:
    """The workspace as the tools see it."""

    def __init__(self, path: str = WORKSPACE) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def inside(self, path: str, tool: str) -> str:
        """`path` relative to the root; an absolute one must lie below it. Raises ToolError."""
        if not path:
            raise ToolError(f"{tool}: a path must not be empty")
        if "\0" in path:
            raise ToolError(f"{tool}: a path cannot hold a NUL character")
        parts: list[str] = []
        for part in (path if path.startswith("/") else f"{self.path}/{path}").split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        root = [part for part in self.path.split("/") if part]
        if parts[: len(root)] != root:
            raise ToolError(f"{tool}: path {path!r} is outside the session's working directory")
        return "/".join(parts[len(root) :]) or "."

    def shown(self, relative: str) -> str:
        """The absolute path, as the model knows it."""
        return self.path if relative == "." else f"{self.path}/{relative}"

    def open(self, relative: str, flags: int, mode: int = 0o644) -> int:
        return open_beneath(self.fd, relative, flags, mode)

    def make_parents(self, relative: str) -> None:
        """Create the folders above `relative` one by one, each below the one before. Raises OSError."""
        parts = relative.split("/")[:-1]
        for depth, name in enumerate(parts):
            try:
                os.close(self.open("/".join(parts[: depth + 1]), os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                above = self.open("/".join(parts[:depth]) or ".", os.O_PATH | os.O_DIRECTORY)
                try:
                    # Made meanwhile by another call, or a dangling link: the next open tells.
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=above)
                finally:
                    os.close(above)

    def walk(self, relative: str) -> Iterator[tuple[str, os.stat_result]]:
        """Each file and folder below as (path from there, what it is); links are neither followed nor entered.

        Our own folder is left out. Raises OSError when `relative` itself cannot be opened as a folder.
        """
        os.close(self.open(relative, os.O_RDONLY | os.O_DIRECTORY))
        stack = [""]
        while stack:
            prefix = stack.pop()
            for name, info in self._entries(joined(relative, prefix)):
                path = joined(prefix, name)
                if relative == "." and path == HIDDEN:
                    continue
                yield path, info
                if stat.S_ISDIR(info.st_mode):
                    stack.append(path)

    def _entries(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            fd = self.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return  # removed or swapped while we looked, or not readable
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        yield entry.name, entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
        finally:
            os.close(fd)


def joined(folder: str, name: str) -> str:
    """`folder/name`, where either may be nothing."""
    return "/".join(part for part in (folder, name) if part not in ("", ".")) or "."


def reason(exc: OSError, path: str) -> str:
    """What went wrong with a file, in the same words everywhere."""
    return f"{path}: {_WORDS.get(exc.errno or 0) or (exc.strerror or 'i/o error').lower()}"


def open_regular(root: Root, path: str, tool: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. A FIFO or device is refused without ever waiting for it. Raises ToolError."""
    try:
        fd = root.open(root.inside(path, tool), flags | os.O_NONBLOCK)
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ToolError(f"{tool}: {path}: not a regular file")
    return fd


def read_bounded(fd: int, limit: int) -> bytes:
    """At most `limit` + 1 bytes: what grows while it is read is bounded all the same."""
    parts: list[bytes] = []
    left = limit + 1
    while left > 0:
        part = os.read(fd, min(left, 1 << 20))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def write_all(fd: int, data: bytes | bytearray) -> None:
    """Write everything to a blocking descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def store(root: Root, path: str, tool: str, data: bytes, flags: int = 0) -> None:
    """Replace a file's content; it is truncated only once it is known to be a regular file. Raises ToolError."""
    fd = open_regular(root, path, tool, os.O_WRONLY | flags)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, data)
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None
    finally:
        os.close(fd)
