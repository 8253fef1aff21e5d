"""What the Docker engine says of itself, of images and of containers, and whether it answers at all. Pure."""

from typing import Any

import msgspec


class Door(msgspec.Struct, frozen=True):
    """The path of the socket, and the number of the error of a connection to it (0: none)."""

    path: str
    error: int = 0


class Facts(msgspec.Struct, frozen=True, rename="pascal"):
    """What the engine says of itself: the part of `GET /info` that matters here."""

    server_version: str = ""
    os_type: str = msgspec.field(name="OSType", default="")
    runtimes: dict[str, Any] | None = None
    security_options: tuple[str, ...] | None = None
    memory_limit: bool = False
    swap_limit: bool = False
    pids_limit: bool = False
    cpu_cfs_quota: bool = False
    operating_system: str = ""

    def has(self, option: str) -> bool:
        """Whether `option` is among the security options, such as `name=rootless`."""
        return any(option in entry.split(",") for entry in self.security_options or ())


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """The state of a container. `pid`: its first process, as the engine's machine numbers it; 0: it does not run."""

    pid: int = 0
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    exit_code: int = 0
    error: str = ""


class Image(msgspec.Struct, frozen=True):
    """An image. `volumes`: the folders that it declares as volumes."""

    id: str
    volumes: tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    """A container in a list."""

    id: str
    name: str
    labels: dict[str, str]
