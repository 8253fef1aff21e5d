"""Finds and kills processes of the sandbox. It has a process namespace of its own, so no others are in /proc."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Final

CROWDED: Final = (
    "no process can be started: the sandbox has as many as it may; "
    "end some by `kill`, or all by the bash tool with restart: true"
)
"""What the model is told when a process cannot be forked."""

STOP_PASSES = 50
"""Most searches for processes that have been started since the last search."""

KILL_ROUNDS = 3
"""Most rounds of stopping and killing."""

NICENESS = 10
"""Niceness of the model's processes: the agent must get the processor to be able to stop them."""


_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_prctl = ctypes.CDLL(None).prctl

_own: set[int] = set()
"""Children whose end is waited for by `wait`: the bash and the helpers."""


def be_first_process() -> None:
    """Take no signal from inside, and let no process of our user open memory, environment or descriptors of this one.

    The first process of a process namespace gets no signal from inside unless it has a handler. Python has made one.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def fork() -> int:
    """As `os.fork`. The parent must call `wait` for the child. Raises OSError."""
    pid = os.fork()
    if pid:
        _own.add(pid)
    return pid


def wait(pid: int) -> int:
    """Wait for a child from `fork`, which must be ending; its status as that of `os.waitpid`."""
    _, status = os.waitpid(pid, 0)
    _own.discard(pid)
    reap_orphans()
    return status


def reap_orphans() -> None:
    """Wait for processes that have ended and that the agent has inherited, as the first process of the sandbox does.

    One that was not waited for counts against the limit of processes for ever. If an own child has ended this returns
    at once: `wait` will be called for it, and calls this again.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in _own:
            return
        os.waitpid(ended.si_pid, 0)


def present() -> set[int]:
    """The ids of all processes, also of those that have ended and wait for their parent."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}  # noqa: PTH208  pathlib is slow to import


def parents() -> dict[int, int]:
    """Process id to parent; processes that have ended and wait for their parent are left out."""
    found: dict[int, int] = {}
    for pid in present():
        # OSError: the process has ended since it was listed.
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  as above
            state, parent = file.read().rsplit(b")", 1)[1].split()[:2]
            if state not in (b"Z", b"X"):
                found[pid] = int(parent)
    return found


def kill(pid: int, number: int) -> None:
    """Send the signal `number`; a process that does not exist is ignored."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def catches(pid: int, number: int) -> bool:
    """Whether the process has a handler for the signal `number`; True for one that has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123  as above
        for line in file:
            if line.startswith(b"SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return True


def pause(find: Callable[[], Iterable[int]]) -> set[int]:
    """Stop all processes that `find` returns, also those that are started meanwhile. Returns them."""
    stopped: set[int] = set()
    for _ in range(STOP_PASSES):
        fresh = set(find()) - stopped
        if not fresh:
            break
        for pid in fresh:
            kill(pid, signal.SIGSTOP)
        stopped |= fresh
    return stopped


def terminate(paused: Iterable[int]) -> None:
    """Send SIGTERM to stopped processes and let them go on: none runs before its own signal has come.

    Otherwise a script whose program ends first would go on with its next line.
    """
    for pid in paused:
        kill(pid, signal.SIGTERM)
    for pid in paused:
        kill(pid, signal.SIGCONT)


def end(find: Callable[[], Iterable[int]]) -> None:
    """Kill all processes that `find` returns, also those that are started meanwhile.

    All are stopped before any is killed: a stopped process starts no other, while the end of one would let a fork bomb
    start the next.
    """
    for _ in range(KILL_ROUNDS):
        stopped = pause(find)
        if not stopped:
            return
        for pid in stopped:
            kill(pid, signal.SIGKILL)


def others(spared: set[int]) -> list[int]:
    """All processes that are not in `spared` and have not ended."""
    return [pid for pid in parents() if pid not in spared]


def started_since(before: set[int], spared: set[int], shell: int) -> list[int]:
    """The processes of a command: those not in `before` that the shell has started, directly or not.

    Processes whose parent has ended count as the command's. Not included: those in `spared`, and those started by
    a background job of an earlier command or by a process in `spared`.
    """
    parent_of = parents()
    found: list[int] = []
    for pid in parent_of:
        if pid in before or pid in spared or pid == shell:
            continue
        ancestor = parent_of[pid]
        for _ in range(len(parent_of)):
            if ancestor in (0, 1, shell) or ancestor in before or ancestor in spared or ancestor not in parent_of:
                break
            ancestor = parent_of[ancestor]
        # Process 1 adopts those whose parent has ended.
        if ancestor in (0, 1, shell) or ancestor not in parent_of:
            found.append(pid)
    return found


def after_fork() -> None:
    """In a forked child: default signals, lower priority, and the first to be killed when memory runs out."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _own.clear()
    os.nice(NICENESS)
    inspectable = _prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    _prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else the file belongs to root
    # OSError: the kernel does not offer it and chooses by size alone.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123  as above
        file.write("1000")
    _prctl(_PR_SET_DUMPABLE, inspectable, 0, 0, 0)
