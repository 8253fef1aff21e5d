"""Settings: one frozen struct per service, read once from the environment at start and passed on as an argument."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from holdfast.process.known_settings import PREFIX, unknown_setting

T = TypeVar("T", bound="ProcessSettings")


class BadSettings(Exception):
    """A setting is missing, unknown or out of range. The text names the setting, never its value."""


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of every service. Field `nats_url` is the variable HOLDFAST_NATS_URL, and so on."""

    nats_url: str = "nats://127.0.0.1:4222"
    """Address of the NATS server, or several with commas."""
    nats_credentials: str = ""
    """Path of a file with `user` and `password` as JSON, mode 0600; empty: connect without a login."""
    health_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Port of /healthz and /readyz; 0: no probes."""
    health_host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    """Address of that port. They need no key and tell causes, so give only one that your own network reaches."""
    log_level: str = "info"
    """debug, info, warning or error."""
    cell: Annotated[str, msgspec.Meta(pattern="^[a-z0-9]{1,8}$")] = "a0"
    """The cell whose streams this process works on: one to eight lower-case letters and digits."""
    drain_timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 5.0
    """Seconds after SIGTERM until work that has not finished is cancelled."""


def load(kind: type[T], environ: Mapping[str, str] | None = None) -> T:
    """Read `kind` from HOLDFAST_<FIELD> variables. Raises BadSettings with the variable and the rule, never the value.

    A HOLDFAST_* variable that no part of Holdfast reads is refused: it is a misspelt setting that would do nothing.
    """
    environ = os.environ if environ is None else environ
    if unknown := unknown_setting(environ):
        raise BadSettings(unknown)
    raw: dict[str, Any] = {}
    for f in msgspec.structs.fields(kind):
        name = PREFIX + f.name.upper()
        if name in environ:
            raw[f.name] = environ[name]
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as exc:
        text = str(exc)
        rule, _, path = text.partition(" - at `$.")
        where = PREFIX + path.rstrip("`").upper() if path else PREFIX + "…"
        raise BadSettings(f"{where}: {rule}") from None


def credentials(path: str) -> tuple[str, str] | None:
    """User and password from a credentials file, or None when no path is set. Raises BadSettings."""
    if not path:
        return None
    try:
        raw = msgspec.json.decode(Path(path).read_bytes(), type=dict[str, str])
        return raw["user"], raw["password"]
    except (OSError, msgspec.MsgspecError, KeyError):
        raise BadSettings(f"{PREFIX}NATS_CREDENTIALS: cannot read user and password from {path}") from None
