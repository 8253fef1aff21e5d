"""The processes of the sandbox: all that can be seen here are our own and what they started."""

from __future__ import annotations

import contextlib
import os
import signal


def present() -> set[int]:
    """The ids of all processes."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}  # noqa: PTH208  pathlib is slow to load


def parents() -> dict[int, int]:
    """The parent of each process."""
    found: dict[int, int] = {}
    for pid in present():
        # One that has just ended is passed over. By `open`, since pathlib is slow to load.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            found[pid] = int(file.read().rsplit(b")", 1)[1].split()[1])
    return found


def kill(pid: int, number: int) -> None:
    """Signal a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def started_since(before: set[int], spared: set[int], shell: int) -> list[int]:
    """Processes that are new since `before`, wherever in the tree they hung themselves.

    Not those of `spared`, nor what earlier background jobs or the spared have started meanwhile.
    """
    above = parents()
    mine: list[int] = []
    for pid in above:
        if pid in before or pid in spared or pid == shell:
            continue
        ancestor = above[pid]
        for _ in range(len(above)):
            if ancestor in (0, 1, shell) or ancestor in before or ancestor in spared or ancestor not in above:
                break
            ancestor = above[ancestor]
        # Its line leads to the shell, or it was orphaned and so has come to the first process.
        if ancestor in (0, 1, shell) or ancestor not in above:
            mine.append(pid)
    return mine


def after_fork() -> None:
    """Signals as a program expects them, and first in line when memory runs out, so that the agent lives."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    # Where it is not offered the kernel goes by size alone.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")
