"""A control group of our own, asked of systemd, where the service was started without one.

On a host with the unified hierarchy an ordinary user may limit its own processes, but only in a subtree that was
delegated to it. `systemd-run --scope` moves the calling process into such a subtree and goes on as the given command:
same process id, same open files, so a supervisor notices nothing.
"""

import os
import shutil
import sys
from pathlib import Path

from holdfast.sandbox.drivers import limits

_TRIED = "HOLDFAST_DELEGATED"
"""Set for the second run, so that there is no third."""


def enter_delegated_group() -> None:
    """Start this program again inside of a delegated group, if that is needed and can be had; else return."""
    if os.environ.pop(_TRIED, ""):
        return
    runner = shutil.which("systemd-run", path="/usr/bin:/bin")
    if runner is None or limits.find().kind != "weak":
        return
    if os.geteuid() != 0 and not Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "bus").exists():
        return
    scope = [] if os.geteuid() == 0 else ["--user"]
    os.environ[_TRIED] = "1"
    os.execv(  # noqa: S606  this very program again
        runner,
        [
            "systemd-run", *scope, "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--",
            sys.executable, "-m", "holdfast.sandbox", *sys.argv[1:],
        ],
    )  # fmt: skip
