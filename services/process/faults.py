"""Failpoints: a test makes the process kill or stop itself between two steps of the protocol.

`HOLDFAST_FAULT=<name>:<kill|stop>[:<n>]` sends SIGKILL or SIGSTOP to this process when the point `name` is reached for
the n-th time (default 1); several are separated by commas. Without the variable a point costs one dictionary look-up.
`tests/faults/README.md` lists the names.
"""

import os
import signal

_armed: dict[str, tuple[int, int]] = {}
"""Signal, and passes until it is sent, by the name of the point."""


def arm() -> None:
    """Arm the points that the environment names, and no others. Called at import, and in a process that is a fork."""
    _armed.clear()
    for part in filter(None, os.environ.get("HOLDFAST_FAULT", "").split(",")):
        name, action, *rest = part.split(":")
        _armed[name] = (signal.SIGKILL if action == "kill" else signal.SIGSTOP, int(rest[0]) if rest else 1)


def point(name: str) -> None:
    """Send the signal to this process if a test has armed the point `name`."""
    if name in _armed:
        number, passes = _armed.pop(name)
        if passes > 1:
            _armed[name] = (number, passes - 1)
        else:
            os.kill(os.getpid(), number)


arm()
