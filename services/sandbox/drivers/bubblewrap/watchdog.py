"""The dead man's switch of a worker: a process beside it that kills its sandboxes when the lease is not renewed.

A worker that is frozen (stopped, swapped out, on a suspended machine) cannot kill its sandboxes itself, yet others will
take their workspace over as soon as its registration has expired (rule 16). Run as a plain script without our packages;
lines on stdin, times as `time.monotonic()`:

    add <pid>         a sandbox: process id of its first process
    drop <pid>        it is gone
    until <time>      let them live till then

The end of stdin is the end of the worker: everything is killed.
"""

import contextlib
import os
import select
import signal
import sys
import time


def main() -> None:
    """Serve until stdin ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    boxes: dict[int, int] = {}
    deadline = float("inf")
    rest = b""
    while True:
        wait = None if deadline == float("inf") or not boxes else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([0], [], [], wait)
        if not ready:
            end(boxes)
            continue
        data = os.read(0, 65536)
        if not data:
            end(boxes)
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            verb, _, value = line.partition(b" ")
            if verb == b"until":
                deadline = float(value)
            elif verb == b"add":
                add(boxes, int(value))
            elif int(value) in boxes:
                os.close(boxes.pop(int(value)))


def add(boxes: dict[int, int], pid: int) -> None:
    """Hold the process itself, not its number, which may come to mean another."""
    try:
        boxes[pid] = os.pidfd_open(pid)
    except ProcessLookupError:
        return


def end(boxes: dict[int, int]) -> None:
    """Kill every sandbox: each is a namespace of processes that ends with its first."""
    for fd in boxes.values():
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        os.close(fd)
    boxes.clear()


if __name__ == "__main__":
    sys.stdout.close()
    main()
