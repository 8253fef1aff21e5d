"""`holdfast down`: stops a running stack."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from holdfast.cli.client.target import NoStack
from holdfast.cli.embedded.layout import data_folder
from holdfast.cli.embedded.local_stack import local_stack
from holdfast.cli.embedded.procfs import parent, started
from holdfast.cli.exit_codes import FAILED, NO_STACK
from holdfast.cli.failure import tell

STOP_TIMEOUT_S: Final = 60.0
"""Seconds to wait for the supervisor. Longer than all its groups of processes may take one after the other."""

_PROGRESS_INTERVAL_S: Final = 1.0
"""Seconds between two checks of which processes are still running."""


def run(data: Path | None) -> int:
    """Stop the stack and return the exit code."""
    try:
        found = local_stack(data)
    except NoStack as exc:
        folder = data_folder(data).absolute()
        holder = _lock_holder(folder)
        if not holder:
            tell("down", str(exc))
            return NO_STACK
        return _stop(holder, started(holder), folder, {})
    return _stop(found.supervisor, found.supervisor_started, Path(found.data), found.processes)


def _stop(pid: int, began: int, folder: Path, processes: Mapping[str, int]) -> int:
    """Send SIGTERM to the supervisor, if process `pid` still is the one that began at `began`; wait for its end."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        handle = -1
    # A signal through the pidfd reaches the checked process, also if its number was given to another one.
    if handle < 0 or not began or started(pid) != began:
        tell("down", f"process {pid} is not the stack in {folder} any more; nothing was stopped.")
        return NO_STACK
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended by itself just now
    except PermissionError:
        tell("down", f"process {pid} belongs to another user; stop the stack as that user.")
        return FAILED
    print(f"stopping the stack in {folder} (process id {pid})", flush=True)
    if not _wait(handle, pid, processes):
        tell(
            "down",
            f"process {pid} has not ended within {STOP_TIMEOUT_S:.0f} s. End it with: kill -9 {pid}\n"
            "Nothing that was stored is lost; sessions continue at the next start.",
        )
        return FAILED
    print("stopped")
    return 0


def _wait(handle: int, pid: int, processes: Mapping[str, int]) -> bool:
    """Wait until the supervisor has ended and say what it waits for; False when it takes too long."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    ends = select.poll()
    ends.register(handle, select.POLLIN)
    told: list[str] = []
    while not ends.poll(_PROGRESS_INTERVAL_S * 1000):
        left = [name for name, child in processes.items() if parent(child) == pid and started(child)]
        if left != told and left:
            print(f"  waiting for {', '.join(left)}", flush=True)
            told = left
        if time.monotonic() > deadline:
            return False
    return True


def _lock_holder(folder: Path) -> int:
    """The process that has the lock of a folder whose stack is starting or stopping; 0 when there is none."""
    lock = folder / "lock"
    try:
        pid = int(lock.read_text())
        opened = [file.samefile(lock) for file in Path(f"/proc/{pid}/fd").iterdir() if _exists(file)]
    except (OSError, ValueError):
        return 0
    return pid if any(opened) else 0


def _exists(file: Path) -> bool:
    with contextlib.suppress(OSError):
        return file.exists()
    return False
