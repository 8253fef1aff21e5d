"""The configuration of a sandbox's container, in the words of the engine's API: all that exists inside. Pure.

The image gives programs and libraries and nothing else: its variables, command, health check and user are not used.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from holdfast.sandbox.drivers.bubblewrap.arguments import (
    AGENT,
    EGRESS,
    ETC,
    HOME,
    OPEN_FILES,
    START,
    WORKSPACE,
    proxy_variables,
)

USER: Final = 1000
"""User and group id of the processes, inside and outside, if the service is root. Else they have those of the service,
so that it may end them and read their files."""

LABEL: Final = "holdfast.worker"
HOST_LABEL: Final = "holdfast.host"
GENERATION_LABEL: Final = "holdfast.generation"
"""Labels of a container: its worker, the host (`host_id`), and the name of the sandbox."""

VARIABLES: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "USER": "agent",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108  private to the sandbox
    "PYTHONUNBUFFERED": "1",
}
"""All environment variables inside: those of every driver, beside those of the egress proxy."""

CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Certificates of public authorities in the image of `deploy/sandbox`."""

CPU_PERIOD_US: Final = 100_000
"""Microseconds over which the kernel counts processor time."""

MASKED: Final = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/random/boot_id", "/sys",
)  # fmt: skip
"""Paths that are covered whatever the kernel shows; the layout has those of this host. The engine's own list, which
this replaces, covers a part of them."""

READ_ONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")
"""Paths in /proc that are read-only."""

OWN_ETC: Final = ("passwd", "group", "hosts", "hostname", "resolv.conf")
"""Files of /etc that every sandbox has, whatever the image: those that name the host or its users."""


class Layout(msgspec.Struct, frozen=True):
    """The same for every sandbox of a worker."""

    image: str
    runtime: str
    uid: int
    gid: int
    agent: Path
    """Folder that holds the package `agent`."""
    etc: Path
    """Folder with OWN_ETC."""
    masked: tuple[str, ...]
    """Paths that are covered beside MASKED."""
    seccomp: str
    """The system call policy: the text of `seccomp_policy.json`."""
    processors: tuple[int, ...]
    """Numbers of the processors that may be used."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of one sandbox."""

    workspace: Path
    labels: dict[str, str]
    memory_bytes: int
    pids: int
    cpus: float
    tmp_bytes: int
    """Size of /tmp and /dev/shm, each."""
    file_bytes: int
    """RLIMIT_FSIZE: the largest file."""
    turn: int
    """Number of the sandbox: the processors are shared out in turn."""
    prepares: bool = False
    """Whether the agent's folder may be written, to compile it."""
    egress: Path | None = None
    """The folder with the socket of the egress proxy; None: no network."""


def etc(uid: int, gid: int) -> dict[str, str]:
    """The files OWN_ETC: name to text."""
    files = {name: ETC.get(name, "") for name in OWN_ETC}
    ids = f":{USER}:{USER}:agent:"
    files["passwd"] = files["passwd"].replace(ids, f":{uid}:{gid}:agent:")
    files["group"] = files["group"].replace(f"agent:x:{USER}:", f"agent:x:{gid}:")
    return files


def cpuset(processors: Sequence[int], cpus: float, turn: int) -> str:
    """The processors of the sandbox number `turn`: as many as its limit of `cpus` fills. Empty: all.

    Programs size their pools by the number of processors that they see, which a limit of time does not change.
    """
    count = math.ceil(cpus)
    if count >= len(processors):
        return ""
    return ",".join(str(processors[(turn * count + n) % len(processors)]) for n in range(count))


def container(layout: Layout, spec: Spec) -> dict[str, Any]:
    """The body of `POST /containers/create`."""
    network = proxy_variables(CERTIFICATES) if spec.egress else {}
    variables = [f"{name}={value}" for name, value in {**VARIABLES, **network}.items()]
    return {
        "Image": layout.image,
        "User": f"{layout.uid}:{layout.gid}",
        "Hostname": "sandbox",
        "WorkingDir": WORKSPACE,
        # The engine adds variables of its own, and those of the image: none of them gets through.
        "Entrypoint": ["/usr/bin/env", "-i", *variables, "python3", "-I", "-S", "-B", "-c", START],
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": spec.labels,
        "StopSignal": "SIGKILL",  # sent by an engine that is stopped; the first process ignores all others
        "Tty": False,
        "OpenStdin": True,
        "StdinOnce": True,  # the agent reads the end of its input, and so ends, when the service has gone
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": _limits(layout, spec) | _isolation(layout) | _mounts(layout, spec),
    }


def _isolation(layout: Layout) -> dict[str, Any]:
    return {
        "Runtime": layout.runtime,
        "NetworkMode": "none",
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "CapDrop": ["ALL"],
        "Privileged": False,
        "Init": False,
        "SecurityOpt": ["no-new-privileges", f"seccomp={layout.seccomp}"],
        "MaskedPaths": sorted({*MASKED, *layout.masked}),
        "ReadonlyPaths": list(READ_ONLY),
        "LogConfig": {"Type": "none"},
        "RestartPolicy": {"Name": "no"},
    }


def _limits(layout: Layout, spec: Spec) -> dict[str, Any]:
    limits = {"nofile": OPEN_FILES, "core": 0, "fsize": spec.file_bytes}
    return {
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes,  # memory and swap together: no swap
        "PidsLimit": spec.pids,
        "CpuPeriod": CPU_PERIOD_US,  # not NanoCpus, which the engine refuses above the processors of the host
        "CpuQuota": int(spec.cpus * CPU_PERIOD_US),
        "CpusetCpus": cpuset(layout.processors, spec.cpus, spec.turn),
        "Ulimits": [{"Name": name, "Soft": value, "Hard": value} for name, value in limits.items()],
        "ShmSize": spec.tmp_bytes,
    }


def _mounts(layout: Layout, spec: Spec) -> dict[str, Any]:
    mounts = [(spec.workspace, WORKSPACE, False), (layout.agent, AGENT, not spec.prepares)]
    mounts += [(layout.etc / name, f"/etc/{name}", True) for name in OWN_ETC]
    if spec.egress:
        mounts.append((spec.egress, EGRESS, True))
    return {
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={spec.tmp_bytes}"},  # noqa: S108  in the sandbox
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(source),
                "Target": target,
                "ReadOnly": read_only,
                "BindOptions": {"Propagation": "rprivate"},
            }
            for source, target, read_only in mounts
        ],
    }
