"""Replaces a file as a whole: a reader sees the old content or the new, and an error or a kill leaves the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from .files import HIDDEN, reason, write_all
from .inputs import ToolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from .files import Root

NEW_FILES: Final = f"{HIDDEN}/new"
"""Folder in which a file is written before it takes its place: there no program watches for it."""

NEW_FILE_MODE: Final = 0o644

_NO_NEW_FILE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors that another folder would not avoid."""


def store(root: Root, path: str, tool: str, data: bytes, *, create: bool = False) -> str:
    """Give the regular file the content `data`; it keeps its mode. Raises ToolError, and then nothing has changed.

    A link stays, and the file that it leads to is replaced. Another name of the same file (a hard link) keeps the old
    content: the text that is returned, to be put behind the result, says so; else it is empty.
    `create`: the file need not exist; the folder must.
    """
    try:
        folder, _, name = root.resolved(root.inside(path, tool)).rpartition("/")
        parent = root.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            mode, names = _mode(parent, name, create=create)
            _replace(root, parent, name, data, mode)
        finally:
            os.close(parent)
    except OSError as exc:
        raise ToolError(f"{tool}: {reason(exc, path)}") from None
    others = names - 1
    if not others:
        return ""
    return f"\n[the file had {others} more hard link(s): other names that keep the old content]"


def _mode(parent: int, name: str, *, create: bool) -> tuple[int, int]:
    """The mode that the file will have and how many names it has now.

    Raises OSError if it may not be written or is no regular file.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        if not create:
            raise
        return NEW_FILE_MODE, 1
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    if not os.access(name, os.W_OK, dir_fd=parent):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(status.st_mode), status.st_nlink


def _replace(root: Root, parent: int, name: str, data: bytes, mode: int) -> None:
    try:
        root.make_parents(f"{NEW_FILES}/x")
        folder = root.open(NEW_FILES, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        if exc.errno in _NO_NEW_FILE:
            raise
        folder = -1
    if folder >= 0:
        try:
            _write_and_rename(folder, parent, name, data, mode)
        except OSError as exc:
            if exc.errno in _NO_NEW_FILE:
                raise
        else:
            return
        finally:
            os.close(folder)
    # The agent's folder cannot be used: the model has replaced it, or the file lies on another file system.
    _write_and_rename(parent, parent, name, data, mode)


def _write_and_rename(folder: int, parent: int, name: str, data: bytes, mode: int) -> None:
    new = f".holdfast-{os.urandom(6).hex()}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        try:
            write_all(fd, data)
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
