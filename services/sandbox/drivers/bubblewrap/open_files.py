"""What the processes of a sandbox hold on a disk without a name: files that were deleted while open or mapped.

A walk through the workspace does not meet them, but they take its space until they are closed.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from holdfast.sandbox.drivers.bubblewrap.arguments import OPEN_FILES
from holdfast.sandbox.drivers.bubblewrap.disk import Use

_PIDFD_GETFD: Final = 438
"""The system call pidfd_getfd(2), which has this number on all machines."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall

_DELETED: Final = b" (deleted)"
"""End of a line of /proc/<pid>/maps for a file without a name (proc(5))."""


def measure(pids: Iterable[int], device: int) -> Use:
    """The use of files without a name on `device` (`st_dev`) that these processes hold. Blocks.

    Raises PermissionError if the host does not let this process look at them. Not counted: files that are on their way
    in a message between two processes (SCM_RIGHTS).
    """
    held: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            held |= dict(_mapped(pid, device))
            held |= dict(_opened(pid, device))
    return Use(sum(held.values()), len(held))


def _opened(pid: int, device: int) -> Iterator[tuple[int, int]]:
    """Inode and bytes of each deleted file that the process, or one of its threads, has open."""
    with os.scandir(f"/proc/{pid}/task") as tasks:
        for task in tasks:
            try:
                with os.scandir(f"{task.path}/fd") as entries:
                    found = [info for entry in entries if (info := _status(entry)) is not None]
            except PermissionError:  # it has forbidden inspection, as the agent has; then its folder belongs to root
                found = list(_by_number(pid))
            except (FileNotFoundError, ProcessLookupError):
                continue
            for info in found:
                if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
                    yield info.st_ino, info.st_blocks * 512


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except FileNotFoundError:
        return None  # closed since it was listed


def _by_number(pid: int) -> Iterator[os.stat_result]:
    """The status of each open file of a process, whose user namespace was made by our user. Raises PermissionError."""
    pidfd = os.pidfd_open(pid)
    try:
        for number in range(OPEN_FILES):
            fd = _syscall(_PIDFD_GETFD, pidfd, number, 0)
            if fd >= 0:
                try:
                    yield os.fstat(fd)
                finally:
                    os.close(fd)
            elif (code := ctypes.get_errno()) != errno.EBADF:
                raise OSError(code, os.strerror(code))
    finally:
        os.close(pidfd)


def _mapped(pid: int, device: int) -> Iterator[tuple[int, int]]:
    """Inode and an upper bound of the bytes of each deleted file that the process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_bytes()
    if _DELETED not in maps:
        return
    name = f"{os.major(device):02x}:{os.minor(device):02x}".encode()
    for line in maps.splitlines():
        fields = line.split(maxsplit=5)
        if line.endswith(_DELETED) and fields[3] == name:
            start, _, end = fields[0].partition(b"-")
            yield int(fields[4]), int(fields[2], 16) + int(end, 16) - int(start, 16)
