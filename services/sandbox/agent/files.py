"""Opens files of the workspace, and no file outside, even if folders are replaced by links meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct

from .inputs import ToolError
from .paths import lexical, link_target, without_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

WORKSPACE: Final = "/workspace"

HIDDEN: Final = ".holdfast"
"""Folder of the agent in the workspace: the home directory, and outputs that were too long to show."""

_OPENAT2: Final = 437
_RESOLVE: Final = 0x08 | 0x02
"""RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS of openat2(2): the kernel refuses every path that leaves the folder."""

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
    errno.EXDEV: "leads outside the session's working directory (links must stay inside)",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "no space left",
    errno.EFBIG: "larger than a file may be here",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EMFILE: "too many open files",
}


def open_beneath(root: int, path: str, flags: int, mode: int = 0o644) -> int:
    """Open `path` below the folder `root` (a descriptor). Raises OSError, with EXDEV if the path leads outside."""
    # openat2 refuses flags that have no meaning with O_PATH.
    flags |= os.O_CLOEXEC | (0 if flags & os.O_PATH else os.O_NOCTTY)
    how = struct.pack("QQQ", flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
    while True:
        fd = int(_syscall(_OPENAT2, root, os.fsencode(path), how, len(how)))
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EINTR):  # EAGAIN: a folder was renamed meanwhile
            raise OSError(code, os.strerror(code), path)


class Root:
    """The workspace. Paths called `relative` are relative to it, without `..`; its own is `.`."""

    def __init__(self, path: str = WORKSPACE) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def inside(self, path: str, tool: str) -> str:
        """The model's `path` as a relative one; an absolute path must lie in the workspace. Raises ToolError."""
        if not path:
            raise ToolError(f"{tool}: a path must not be empty")
        if "\0" in path:
            raise ToolError(f"{tool}: a path cannot hold a NUL character")
        relative = lexical(path, self.path)
        if relative is None:
            raise ToolError(f"{tool}: path {path!r} is outside the session's working directory")
        return relative

    def shown(self, relative: str) -> str:
        """The absolute path, which is shown to the model."""
        return self.path if relative == "." else f"{self.path}/{relative}"

    def open(self, relative: str, flags: int, mode: int = 0o644) -> int:
        """A descriptor of the file or folder. Links are followed within the workspace. Raises OSError."""
        try:
            return open_beneath(self.fd, relative, flags, mode)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
        # The kernel refuses every absolute link, also one that leads back into the workspace.
        return open_beneath(self.fd, self.resolved(relative), flags, mode)

    def resolved(self, relative: str) -> str:
        """The path without links. Raises OSError, with EXDEV if a link leads outside."""
        return without_links(relative, self.path, self._link_target)

    def _link_target(self, relative: str) -> str | None:
        try:
            fd = open_beneath(self.fd, relative, os.O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            return link_target(fd)
        finally:
            os.close(fd)

    def remove(self, relative: str) -> None:
        """Remove the file. Raises OSError."""
        folder, _, name = relative.rpartition("/")
        fd = self.open(folder or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)

    def make_parents(self, relative: str) -> None:
        """Create the missing folders above `relative`, each relative to a descriptor of its parent. Raises OSError."""
        parts = relative.split("/")[:-1]
        for depth, name in enumerate(parts):
            try:
                os.close(self.open("/".join(parts[: depth + 1]), os.O_PATH | os.O_DIRECTORY))
            except FileNotFoundError:
                parent = self.open("/".join(parts[:depth]) or ".", os.O_PATH | os.O_DIRECTORY)
                try:
                    # Another call has made it, or it is a dangling link, on which the next open fails.
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o755, dir_fd=parent)
                finally:
                    os.close(parent)


def joined(folder: str, name: str) -> str:
    """`folder/name`; each may be empty or `.`."""
    return "/".join(part for part in (folder, name) if part not in ("", ".")) or "."


def reason(exc: OSError, path: str) -> str:
    """The path and the error, in the same words for all tools."""
    return f"{path}: {_WORDS.get(exc.errno or 0) or (exc.strerror or 'i/o error').lower()}"


def open_regular(root: Root, path: str, tool: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file. A FIFO or device is refused without waiting for it. Raises ToolError."""
    try:
        fd = root.open(root.inside(path, tool), flags | os.O_NONBLOCK)
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ToolError(f"{tool}: {path}: not a regular file")
    return fd


def read_bounded(fd: int, limit: int) -> bytes:
    """Read up to `limit` + 1 bytes, also from a file that grows meanwhile: more than `limit` bytes mean too large."""
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
