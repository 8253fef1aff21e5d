"""Asks systemd to delegate a control group to this service, if it was started without one of its own.

On a host with the unified hierarchy an ordinary user may limit its own processes, but only in a subtree that was
delegated to it. `StartTransientUnit` moves this process into a new scope with such a subtree, as `systemd-run --scope`
does; the process keeps its id and its open files. If systemd refuses, nothing has changed.
"""

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

import msgspec

from holdfast.sandbox.drivers.bubblewrap import hierarchy

CALL_TIMEOUT_S: Final = 3
"""Seconds that systemd has to answer a request."""

MOVE_TIMEOUT_S: Final = 3.0
"""Seconds from the answer of systemd until this process must be in the new scope."""

MOVE_POLL_S: Final = 0.02
"""Seconds between two looks whether it is."""

_DESTINATION: Final = (
    "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
)  # fmt: skip


class Manager(msgspec.Struct, frozen=True):
    """The systemd that this process would ask: that of its user, or for root that of the system."""

    booted: bool
    """Whether the host was booted with systemd (sd_booted(3)). Containers have its programs, but do not run it."""
    root: bool
    bus: str
    """Address of the D-Bus of the user; empty if there is none. Root uses that of the system."""
    busctl: str
    """Path of busctl; empty if it is not installed."""


def find_manager() -> Manager:
    """The systemd of this host."""
    uid = os.geteuid()
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    socket = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}", "bus")
    if not bus and socket.is_socket():
        bus = f"unix:path={socket}"
    return Manager(
        booted=Path("/run/systemd/system").is_dir(),
        root=uid == 0,
        bus=bus,
        busctl=shutil.which("busctl", path="/usr/bin:/bin") or "",
    )


def obstacle(manager: Manager) -> str:
    """Why this systemd cannot be asked for a delegated group; empty if it can."""
    if not manager.booted:
        return "systemd does not run here"
    if not manager.busctl:
        return "systemd cannot be asked without busctl"
    if not manager.root and not manager.bus:
        return "this user has no session of systemd"
    return ""


def request(manager: Manager, pid: int, unit: str) -> list[str]:
    """The command that asks systemd to move the process `pid` into the new scope `unit` with a delegated group.

    Its arguments are those of `StartTransientUnit` in org.freedesktop.systemd1(5): name, mode, properties, other units.
    """
    properties = [
        "Description", "s", "Holdfast sandboxes",
        "PIDs", "au", "1", str(pid),
        "Delegate", "b", "true",
        "CollectMode", "s", "inactive-or-failed",
    ]  # fmt: skip
    return [
        manager.busctl, "--system" if manager.root else "--user", f"--timeout={CALL_TIMEOUT_S}",
        "--allow-interactive-authorization=no",
        "call", *_DESTINATION, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", "4", *properties, "0",
    ]  # fmt: skip


def find_hierarchy() -> hierarchy.Hierarchy:
    """The hierarchy of this process. If limits would be weak, systemd is asked for a delegated group first.

    Blocks for a few seconds at most. Call it before this process has children: systemd does not move them with it.
    """
    found = hierarchy.find()
    if found.kind != "weak":
        return found
    refusal = _enter_delegated_group()
    after = found if refusal else hierarchy.find()
    if after.kind != "weak":
        return after
    return msgspec.structs.replace(after, cause=f"{after.cause}; {refusal}" if refusal else after.cause)


def _enter_delegated_group() -> str:
    """Move this process into a delegated group. Returns why that failed; empty if it has been moved."""
    manager = find_manager()
    if why := obstacle(manager):
        return why
    unit = f"holdfast-{os.getpid()}-{secrets.token_hex(4)}.scope"
    environment = {} if manager.root else {"DBUS_SESSION_BUS_ADDRESS": manager.bus}
    try:
        done = subprocess.run(  # noqa: S603  a fixed program
            request(manager, os.getpid(), unit), env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=CALL_TIMEOUT_S + 1, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"systemd did not delegate a control group ({exc.strerror if isinstance(exc, OSError) else 'no answer'})"
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:200]
        return f"systemd did not delegate a control group ({said or f'busctl ended with {done.returncode}'})"
    deadline = time.monotonic() + MOVE_TIMEOUT_S
    while unit not in Path("/proc/self/cgroup").read_text():
        if time.monotonic() > deadline:
            return "systemd accepted to delegate a control group, but did not move this process into it"
        time.sleep(MOVE_POLL_S)
    return ""
