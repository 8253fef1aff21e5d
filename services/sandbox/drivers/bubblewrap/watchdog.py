"""A process beside a worker that kills the worker's sandboxes when the lease is not renewed in time.

A worker that is frozen (stopped, swapped out, on a suspended machine) cannot kill its sandboxes itself, yet another
worker takes its sessions over as soon as its registration has expired (rule 16). This file is run as a plain script,
without our packages, by `watchdog_process.py`. It reads lines from stdin; times are those of `time.monotonic()`:

    add <pid>         a sandbox has started: the id of bubblewrap outside, or of the first process inside
    drop <pid>        the process has ended
    until <seconds>   kill all sandboxes at that time, unless a later time is given before

It also limits what a sandbox may take of what its host has for all of one user: inotify instances and watches. Only a
process with one thread can enter the user namespace of the sandbox, where these limits are set.

The end of stdin means that the worker has ended: all sandboxes are killed.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

INOTIFY_LIMITS = {"max_inotify_instances": 16, "max_inotify_watches": 8192}
"""Files of /proc/sys/user with their limits. Programs that watch files need an instance each, and a watch for each file
or folder. A user has 128 instances and often less than 200,000 watches in all, of which those of its sandboxes are a
part. 8192 was the default of Linux for all of a user until 5.11."""

CLONE_NEWUSER = 0x10000000
LIBC = ctypes.CDLL(None)


def main() -> None:
    """Serve until stdin ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sandboxes: dict[int, int] = {}
    deadline = float("inf")
    unfinished = b""
    while True:
        wait = None if deadline == float("inf") or not sandboxes else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0], [], [], wait)
        if not ready:
            kill_all(sandboxes)
            continue
        data = os.read(0, 65536)
        if not data:
            kill_all(sandboxes)
            return
        *lines, unfinished = (unfinished + data).split(b"\n")
        for line in lines:
            verb, _, value = line.partition(b" ")
            if verb == b"until":
                deadline = float(value)
            elif verb == b"add":
                add(sandboxes, int(value))
            elif int(value) in sandboxes:
                os.close(sandboxes.pop(int(value)))


def add(sandboxes: dict[int, int], pid: int) -> None:
    """Open a pidfd of the process: its number could be given to another process after its end."""
    try:
        sandboxes[pid] = os.pidfd_open(pid)
        if Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink():
            limit_inotify(pid)
    except OSError:
        return  # it has ended


def limit_inotify(pid: int) -> None:
    """Let the user namespace of the process have INOTIFY_LIMITS at most. No effect where that is not allowed."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        if LIBC.setns(namespace, CLONE_NEWUSER) == 0:
            for name, limit in INOTIFY_LIMITS.items():
                Path("/proc/sys/user", name).write_text(str(limit))
    finally:
        os._exit(0)


def kill_all(sandboxes: dict[int, int]) -> None:
    """Kill the first process of each sandbox; the kernel then ends all others in its process namespace.

    A sandbox that is being made is known by bubblewrap alone, which leads a process group with its child.
    """
    for pid, fd in sandboxes.items():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, 0)  # the id still belongs to the process
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
    sandboxes.clear()


if __name__ == "__main__":
    sys.stdout.close()
    main()
