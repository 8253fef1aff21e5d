"""The processes of the sandbox: all that can be seen here are our own and what they started."""

from __future__ import annotations

import contextlib
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


PASSES = 50
"""How often what multiplies is looked for again, at most."""


NICENESS = 10
"""How far the model's processes stand behind the agent, which must be able to stop them."""


def present() -> set[int]:
    """The ids of all processes."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}  # noqa: PTH208  pathlib is slow to load


def parents() -> dict[int, int]:
    """The parent of each process; those that have ended and wait for their parent are left out."""
    found: dict[int, int] = {}
    for pid in present():
        # One that has just ended is passed over. By `open`, since pathlib is slow to load.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            state, parent = file.read().rsplit(b")", 1)[1].split()[:2]
            if state not in (b"Z", b"X"):
                found[pid] = int(parent)
    return found


def kill(pid: int, number: int) -> None:
    """Signal a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def end(find: Callable[[], Iterable[int]]) -> None:
    """Kill all that `find` finds, also what multiplies meanwhile.

    Stopped first: the death of one would only make room for the next, but what is stopped has no children any more.
    """
    for _ in range(3):
        stopped: set[int] = set()
        for _ in range(PASSES):
            fresh = set(find()) - stopped
            if not fresh:
                break
            for pid in fresh:
                kill(pid, signal.SIGSTOP)
            stopped |= fresh
        if not stopped:
            return
        for pid in stopped:
            kill(pid, signal.SIGKILL)


def others(spared: set[int]) -> list[int]:
    """Every process that is not of `spared`, and has not ended."""
    return [pid for pid in parents() if pid not in spared]


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
    os.nice(NICENESS)
    # Where it is not offered the kernel goes by size alone.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")
