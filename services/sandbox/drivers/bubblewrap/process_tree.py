"""Which processes of a control group are Holdfast's own: this service, and the `holdfast up` that started it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def holds_only_ours(members: Iterable[int]) -> bool:
    """Whether each process id in `members` is this process, or belongs to the `holdfast up` that started it."""
    parents = {pid: parent_of(pid) for pid in _processes()}
    parent = os.getppid()
    head = parent if _program(parent) == _program(os.getpid()) else os.getpid()
    return all(descends(pid, head, parents) for pid in members)


def descends(pid: int, head: int, parents: Mapping[int, int]) -> bool:
    """Whether `pid` is `head` or one of its descendants. A process that has ended counts as one: it does no harm."""
    if pid not in parents:
        return True
    while pid in parents and pid != head:
        pid = parents[pid]
    return pid == head


def descendants(head: int) -> list[int]:
    """The process `head` and all that descend from it."""
    parents = {pid: parent_of(pid) for pid in _processes()}
    return [pid for pid in parents if parents[pid] and descends(pid, head, parents)]


def parent_of(pid: int) -> int:
    """The parent of the process `pid`; 0 if the process has ended."""
    try:
        # The program's name in parentheses (field 2 of proc_pid_stat(5)) may itself hold spaces and parentheses.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _program(pid: int) -> str:
    """The executable of the process, for a Python service its interpreter. A unique text if it cannot be read."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return f"unknown program of {pid}"
