"""Settings of the session service."""

from typing import Annotated

from msgspec import Meta

from holdfast.process.settings import ProcessSettings


class SessionSettings(ProcessSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read once from HOLDFAST_<FIELD>."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    """Address that the HTTP edge listens on."""
    hosts: Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9.-]+(,[A-Za-z0-9.-]+)*)?$")] = ""
    """Names under which clients reach the edge, with commas between them: their `Host` header must have one of them.
    IP addresses, `localhost` and `host` are always served; `*` serves every name."""
    max_streams: Annotated[int, Meta(ge=1, le=1_000_000)] = 5_000
    """Event streams open at once. It is less if the process may have too few descriptors."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    """Port of the HTTP edge; 0 lets the system choose, and the log line `listening` says which."""
    api_key_file: str = ""
    """Path of a file with one API key. It is installed as an admin key of the tenant `default` if its hash is not known
    yet; one that a version before roles has installed becomes an admin key."""
    models_file: str = ""
    """As that of the harness: a TOML or JSON file with what is known of models, over `process/models.toml`."""
    body_limit: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 * 1024 * 1024
    """Largest request body in bytes."""
    body_timeout: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """Longest pause in a request body, in seconds."""
    head_timeout: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """Longest time that a client takes for the head of a request, in seconds."""
    send_timeout: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """Seconds after which a client is disconnected that takes nothing, or almost nothing, of what is sent to it."""
    session_data: str = ""
    """Directory of the read model, which may be deleted at any time. Empty: in memory."""
    key_requests_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    """Requests a second that one API key may send to this process; twice as many at once. 0: no limit."""
    tenant_requests_per_s: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    """The same for all keys of a tenant together."""
    tenant_running_turns: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Sessions of one tenant that may run at once; a message that would start one more is refused. 0: no limit."""
    other_cells: Annotated[str, Meta(pattern="^([a-z0-9]{1,8}(,[a-z0-9]{1,8})*)?$")] = ""
    """Further cells whose sessions are served, with commas between them. New sessions are made in `cell` alone."""
    webhook_hosts: Annotated[str, Meta(pattern=r"^([A-Za-z0-9._:-]+(,[A-Za-z0-9._:-]+)*)?$")] = ""
    """Names and IP addresses of hosts to which webhooks may be sent whatever their address, on any port and by http,
    with commas between them. All others must be https on port 443 of a public address."""
    webhook_timeout: Annotated[float, Meta(gt=0, le=60)] = 10.0
    """Seconds for one request to the endpoint of a webhook."""
    webhook_retry_first: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    """Seconds until an event is sent again that an endpoint has not taken. They double with each failure."""
    webhook_retry_most: Annotated[float, Meta(gt=0, le=86400)] = 900.0
    """Longest pause between two attempts, in seconds."""
    webhook_disable_after: Annotated[float, Meta(gt=0, le=31_536_000)] = 86400.0
    """Seconds for which an endpoint has taken nothing, after which its webhook is disabled."""
    file_limit: Annotated[int, Meta(ge=1, le=1 << 40)] = 1 << 30
    """Largest file that may be uploaded, in bytes."""
    tenant_files: Annotated[int, Meta(ge=0, le=1_000_000)] = 100_000
    """Files that one tenant may have."""
    tenant_files_bytes: Annotated[int, Meta(ge=0, le=1 << 50)] = 100 * (1 << 30)
    """Bytes of all files of one tenant."""
    uploads: Annotated[int, Meta(ge=1, le=1_000)] = 16
    """Files that may be uploaded to this process at once; each takes up to 2 MiB of memory."""
    disk_folder: str = ""
    """A folder on the file system where NATS stores its streams, if it runs on this machine: new work is refused while
    that file system is full. Empty: no check."""

    @property
    def named_hosts(self) -> frozenset[str]:
        """The hosts of `webhook_hosts`, in lower case."""
        return frozenset(filter(None, self.webhook_hosts.lower().split(",")))

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells that are served, first that of new sessions."""
        return tuple(dict.fromkeys([self.cell, *filter(None, self.other_cells.split(","))]))
