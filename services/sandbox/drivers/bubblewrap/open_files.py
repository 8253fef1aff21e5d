"""What the processes of a sandbox hold on a disk without a name: files that were deleted while open or mapped.

A walk through the workspace does not meet them, but they take its space until they are closed.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from holdfast.sandbox.drivers.bubblewrap.disk import Use

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
    for task in os.scandir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for entry in os.scandir(f"{task.path}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    info = entry.stat()
                    if info.st_nlink == 0 and info.st_dev == device and stat.S_ISREG(info.st_mode):
                        yield info.st_ino, info.st_blocks * 512


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
