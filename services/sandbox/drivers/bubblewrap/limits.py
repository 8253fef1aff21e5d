"""The limits of a sandbox, and which of them hold where no control group can be written."""

import os
import re
from pathlib import Path

import msgspec

from holdfast.sandbox.drivers.bubblewrap.hierarchy import CONTROLLERS, Hierarchy


class Limits(msgspec.Struct, frozen=True):
    """Limits of one sandbox: bytes of memory, processes and threads, processors."""

    memory_bytes: int
    pids: int
    cpus: float


def weakness(hierarchy: Hierarchy, *, root: bool) -> str:
    """Which limits do not hold for a sandbox as a whole, and why; empty if all hold. `root`: the service is root."""
    if hierarchy.kind != "weak":
        missing = [name for name in CONTROLLERS if name not in hierarchy.roots]
        return "processor time is not limited (the control group does not offer cpu)" if missing else ""
    processes = "; the number of processes is not limited, since the service runs as root" if root else ""
    return f"each process alone, not the whole sandbox (no control group can be written){processes}"


def counts_alone(kernel: str) -> bool:
    """Whether RLIMIT_NPROC in a user namespace counts only the processes in it. `kernel`: its release (uname(2)).

    Before Linux 5.14 it counts all processes of the user, inside and outside.
    """
    numbers = re.match(r"(\d+)\.(\d+)", kernel)
    return numbers is None or (int(numbers[1]), int(numbers[2])) >= (5, 14)


def threads_of_user() -> int:
    """Processes and threads that this user has now."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if folder.stat().st_uid == os.geteuid():
                count += len(list((folder / "task").iterdir()))
        except OSError:  # the process has ended
            continue
    return count
