"""Which processes of a control group are Holdfast's own: this service, and the `holdfast up` that has started it."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path


def holds_only_ours(members: Iterable[int]) -> bool:
    """Whether all processes `members` are this one, or belong to the `holdfast up` that started it."""
    parents = {pid: parent_of(pid) for pid in _processes()}
    above = os.getppid()
    head = above if _program(above) == _program(os.getpid()) else os.getpid()
    return all(descends(pid, head, parents) for pid in members)


def descends(pid: int, head: int, parents: Mapping[int, int]) -> bool:
    """Whether `pid` is `head` or was started by it or by what it started; one that has ended meanwhile does no harm."""
    if pid not in parents:
        return True
    while pid in parents and pid != head:
        pid = parents[pid]
    return pid == head


def parent_of(pid: int) -> int:
    """The process that started `pid`, or took it over; 0 if it has ended."""
    try:
        # The name of the program, in parentheses, may hold spaces and parentheses itself.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _program(pid: int) -> str:
    """The file that the process runs, for a service the interpreter; unknown for a process of another user."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except OSError:
        return f"unknown program of {pid}"
