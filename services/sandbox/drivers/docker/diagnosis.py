"""Why no container can be made, and the ways out. Pure."""

import errno
from typing import Final

from holdfast.sandbox.drivers.docker.facts import Door, Facts
from holdfast.sandbox.drivers.driver import Remedy, SandboxUnavailable

OLDEST_API: Final = (1, 41)
"""Version of the engine's API, of Docker 20.10: the first with private namespaces for control groups."""

BUBBLEWRAP: Final = Remedy("or use the other driver, which needs no engine", "export HOLDFAST_DRIVER=bubblewrap")


def away(door: Door, symptom: str) -> SandboxUnavailable:
    """The error when the engine cannot be reached or does not answer."""
    if door.error == errno.ENOENT:
        cause = f"There is no Docker engine on this machine: {door.path} does not exist."
        remedies = (
            Remedy("install one", "sudo apt install docker.io"),
            Remedy("or name its socket", "export HOLDFAST_DOCKER_SOCKET=/path/to/docker.sock"),
        )
    elif door.error in (errno.EACCES, errno.EPERM):
        cause = f"This user may not use the Docker engine: {door.path} is closed to it."
        remedies = (
            Remedy(
                "let it (whoever may use the engine is root on this machine), and log in again",
                "sudo usermod -aG docker $USER",
            ),
        )
    elif door.error == errno.ECONNREFUSED:
        cause = f"The Docker engine does not run: nobody listens on {door.path}."
        remedies = (Remedy("start it", "sudo systemctl start docker"),)
    else:
        cause = f"The Docker engine does not answer: {symptom}."
        remedies = (
            Remedy("look what holds it up", "sudo journalctl -u docker -n 50"),
            Remedy("start it again", "sudo systemctl restart docker"),
        )
    return SandboxUnavailable(cause, (*remedies, BUBBLEWRAP))


def unsuitable(facts: Facts, api: str, runtime: str) -> SandboxUnavailable | None:
    """The error for an engine on which this driver does not isolate or does not keep files; None if it may be used."""
    version = tuple(int(part) for part in api.split(".") if part.isdigit())
    if version < OLDEST_API:
        return SandboxUnavailable(
            f"The Docker engine is too old: it is {facts.server_version}, and 20.10 or newer is needed.",
            (Remedy("install a newer one", "sudo apt install docker.io"), BUBBLEWRAP),
        )
    if facts.os_type != "linux":
        return SandboxUnavailable(
            f"The Docker engine makes containers for {facts.os_type}, and sandboxes need Linux.", (BUBBLEWRAP,)
        )
    if facts.has("name=rootless") or facts.has("name=userns"):
        kind = "runs without root" if facts.has("name=rootless") else "maps users (userns-remap)"
        return SandboxUnavailable(
            f"The Docker engine {kind}: the files of a workspace would belong to a user that this service is not.",
            (Remedy("name the socket of an engine that does not", "export HOLDFAST_DOCKER_SOCKET=…"), BUBBLEWRAP),
        )
    if not facts.has("name=seccomp"):
        return SandboxUnavailable(
            "The Docker engine cannot filter system calls (its kernel or build lacks seccomp).", (BUBBLEWRAP,)
        )
    if runtime not in (facts.runtimes or {}):
        return no_runtime(facts, runtime)
    return None


def no_runtime(facts: Facts, runtime: str) -> SandboxUnavailable:
    """The error for a runtime that the engine does not know."""
    known = ", ".join(sorted(facts.runtimes or {}))
    return SandboxUnavailable(
        f"The Docker engine has no runtime {runtime!r} (HOLDFAST_DOCKER_RUNTIME); it has {known}.",
        (Remedy(f"install {runtime} and name it in /etc/docker/daemon.json", "sudo systemctl restart docker"),),
    )


def weakness(facts: Facts) -> str:
    """Which limits the engine cannot set; empty if it can set all."""
    limits = {
        "memory": facts.memory_limit,
        "the number of processes": facts.pids_limit,
        "processor time": facts.cpu_cfs_quota,
    }
    missing = [name for name, holds in limits.items() if not holds]
    return (
        f"{', '.join(missing)} cannot be limited by this engine (its kernel lacks the control group)" if missing else ""
    )


def weak_limits(weakness: str) -> SandboxUnavailable:
    """The error when limits do not hold and nobody has allowed that."""
    return SandboxUnavailable(
        f"Limits of a sandbox do not hold: {weakness}.",
        (
            Remedy("switch these control groups on (kernel parameters `cgroup_enable=memory swapaccount=1`)"),
            Remedy("or allow it", "export HOLDFAST_ALLOW_WEAK_LIMITS=true"),
        ),
    )


def no_image(image: str) -> SandboxUnavailable:
    """The error for an image that the engine does not have."""
    return SandboxUnavailable(
        f"The Docker engine has no image {image!r} (HOLDFAST_DOCKER_IMAGE).",
        (
            Remedy("build it in a checkout of Holdfast", f"docker build -t {image} deploy/sandbox"),
            Remedy("or, without a registry", f"IMAGE={image} deploy/sandbox/make-image"),
            BUBBLEWRAP,
        ),
    )


def volumes(image: str, folders: tuple[str, ...]) -> SandboxUnavailable:
    """The error for an image that makes folders outside of the workspace writable."""
    return SandboxUnavailable(
        f"The image {image!r} declares volumes ({', '.join(folders)}), whose size nothing limits.",
        (Remedy("build an image without VOLUME, or from it by `docker export` and `docker import`"),),
    )


def foreign(symptom: str) -> SandboxUnavailable:
    """The error when this process could not end a container by itself, so that it might outlive the worker's lease."""
    return SandboxUnavailable(
        f"The processes of the Docker engine are out of reach of this service: {symptom}.",
        (
            Remedy("run the service on the engine's machine, outside of a container, as root or as its own user"),
            BUBBLEWRAP,
        ),
    )


def no_way_out(runtime: str) -> SandboxUnavailable:
    """The error for a runtime in whose containers the socket of the egress proxy cannot be used."""
    return SandboxUnavailable(
        f"Containers of the runtime {runtime!r} cannot use the socket of the egress proxy, so they have no network.",
        (
            Remedy("let them open Unix sockets of the host, which gVisor does with `--host-uds=open`"),
            Remedy("or run sandboxes without a network", "export HOLDFAST_EGRESS=off"),
            Remedy("or use the runtime of Docker itself", "export HOLDFAST_DOCKER_RUNTIME=runc"),
        ),
    )


def failed(symptom: str) -> SandboxUnavailable:
    """The error for a container that was made and did not come up."""
    return SandboxUnavailable(f"The Docker engine made no sandbox: {symptom}.", (BUBBLEWRAP,))
