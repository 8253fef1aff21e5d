"""Named fault points: a test makes the process kill or stop itself between two steps of the protocol.

`HOLDFAST_FAULT=<name>:<kill|stop>[:<n>]` acts when the point `name` is reached for the n-th time (default 1). Without
the variable a point costs one dictionary look-up. The names are listed in `tests/faults/README.md`.
"""

import os
import signal

_armed: dict[str, tuple[int, int]] = {}


def _arm(spec: str) -> None:
    for part in filter(None, spec.split(",")):
        name, action, *rest = part.split(":")
        _armed[name] = (signal.SIGKILL if action == "kill" else signal.SIGSTOP, int(rest[0]) if rest else 1)


def point(name: str) -> None:
    """Die or stop here if a test asked for it."""
    if name in _armed:
        sig, left = _armed.pop(name)
        if left > 1:
            _armed[name] = (sig, left - 1)
        else:
            os.kill(os.getpid(), sig)


_arm(os.environ.get("HOLDFAST_FAULT", ""))
