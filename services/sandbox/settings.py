"""Settings of the sandbox service."""

from typing import Annotated, Literal

from msgspec import Meta

from holdfast.process.settings import ProcessSettings

MIB = 1024 * 1024


class SandboxSettings(ProcessSettings, frozen=True, kw_only=True):
    """Read once at start from HOLDFAST_<FIELD>. Every limit is that of one sandbox."""

    data_dir: str = "data/sandbox"
    """Folder of the workspaces (the files of the sessions) and of files that all sandboxes share; made if missing."""
    driver: str = "bubblewrap"
    """How sandboxes are isolated: a name in `drivers.DRIVERS`, or auto (docker where its engine answers and has the
    image when the service starts, else bubblewrap)."""
    docker_socket: str = "/var/run/docker.sock"
    """Socket of the Docker engine, on this machine (driver docker)."""
    docker_image: str = "holdfast-sandbox"
    """Image of the sandboxes (driver docker). `deploy/sandbox` has what builds it."""
    docker_runtime: str = "runc"
    """The engine's runtime for sandboxes: runc, runsc (gVisor), or another one that it has (driver docker)."""
    docker_timeout: Annotated[int, Meta(ge=1, le=600)] = 20
    """Seconds that the engine has for a request; a start beside many others takes two (driver docker)."""
    memory_bytes: Annotated[int, Meta(ge=64 * MIB)] = 1024 * MIB
    """Memory of all processes of a sandbox together, including its /tmp (bytes)."""
    pids: Annotated[int, Meta(ge=16, le=32768)] = 256
    """Processes and threads at once."""
    cpus: Annotated[float, Meta(ge=0.05, le=1024)] = 2.0
    """Processor time per second, in processors."""
    tmp_bytes: Annotated[int, Meta(ge=MIB)] = 256 * MIB
    """Size of /tmp, which lives in memory and ends with the sandbox (bytes)."""
    disk_bytes: Annotated[int, Meta(ge=MIB)] = 4096 * MIB
    """Size of a workspace, and of each file in it (bytes). A sandbox whose workspace is larger is killed."""
    disk_files: Annotated[int, Meta(ge=100)] = 500_000
    """Files and folders in a workspace. A sandbox whose workspace has more is killed."""
    disk_reserve_bytes: Annotated[int, Meta(ge=0)] = 512 * MIB
    """Free space of the host's disk below which a sandbox whose files grow is killed (bytes)."""
    disk_reserve_files: Annotated[int, Meta(ge=0)] = 10_000
    """Files that can still be made on the host's disk below which a sandbox that makes more is killed."""
    allow_weak_limits: bool = False
    """Whether sandboxes may run where no control group can be written: then memory is limited for each process alone,
    so many processes together may use much more, and processor time is not limited. true or false."""
    call_timeout: Annotated[float, Meta(ge=1, le=3600)] = 120.0
    """Seconds that a call may take; a bash command may ask for another limit."""
    call_timeout_max: Annotated[float, Meta(ge=1, le=86400)] = 1800.0
    """The most seconds that a bash command may ask for."""
    idle_after: Annotated[float, Meta(ge=1, le=604800)] = 900.0
    """Seconds without a call after which a sandbox is ended; its files are kept."""
    lease: Annotated[int, Meta(ge=2, le=60)] = 10
    """Seconds after which a worker's registration expires unless refreshed. Then other hosts know that it is dead; but
    its sandboxes end a little before, also if only the bus or a stalled disk was away for so long. A worker that starts
    again on its own host reports at once."""
    max_sandboxes: Annotated[int, Meta(ge=0, le=100_000)] = 0
    """Sandboxes of this worker at once; a full worker declines and another one is asked. 0: no limit, because most
    sandboxes use a small part of `memory_bytes`, so that a number derived from it would decline far too early."""
    probe_interval: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Seconds after which a sandbox is made to see whether that works, if none was made meanwhile."""
    egress: Literal["on", "off"] = "on"
    """Whether sandboxes get the network that their environment asks for, by way of the egress proxy. `off`: none at
    all. Harnesses read the same variable."""
    egress_hosts: Annotated[str, Meta(pattern=r"^([A-Za-z0-9._:-]+(,[A-Za-z0-9._:-]+)*)?$")] = ""
    """Names and IP addresses of hosts that a sandbox may reach whatever their address, on any port, if its environment
    allows them; with commas between them. All others must have public addresses of other machines only."""
    egress_connections: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Connections of a sandbox to the outside at once; further ones wait."""
    egress_bytes: Annotated[int, Meta(ge=0)] = 0
    """Bytes that a sandbox may send and receive in all. 0: no limit."""
    creates_at_once: Annotated[int, Meta(ge=1, le=256)] = 4
    """Sandboxes made at the same time; about twice the number of processors."""

    @property
    def exempt_hosts(self) -> frozenset[str]:
        """The hosts of `egress_hosts`, in lower case."""
        return frozenset(filter(None, self.egress_hosts.lower().split(",")))
