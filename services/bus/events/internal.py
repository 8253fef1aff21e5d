"""Events that the API does not have and clients do not see: their types begin with `holdfast.`. Pure."""

# ruff: noqa: RUF012  msgspec copies mutable defaults

from typing import Any

from holdfast.bus.events.base import Event


class SessionConfig(Event, frozen=True, kw_only=True, tag="holdfast.session"):
    """The configuration of the session: written at creation and, as a whole, at each update. Shapes are the wire's."""

    tenant: str
    agent: dict[str, Any]
    environment_id: str
    environment: dict[str, Any]
    primary_thread: str
    title: str | None = None
    metadata: dict[str, str] = {}
    vault_ids: list[str] = []
    resources: list[dict[str, Any]] = []
    idempotency: str | None = None
    first_input: str | None = None
    """Id of the input with the initial events, which follows this commit. A creation that died before it is undone."""


class SandboxBound(Event, frozen=True, kw_only=True, tag="holdfast.sandbox"):
    """The session's sandbox is `generation` on `worker`; every ready call not yet bound belongs to it (rule 12)."""

    generation: str
    worker: str


class SandboxLost(Event, frozen=True, kw_only=True, tag="holdfast.sandbox_lost"):
    """That generation is gone; its open calls are closed in the same commit (rule 15)."""

    generation: str
    reason: str


class Blob(Event, frozen=True, kw_only=True, tag="holdfast.blob"):
    """Stands for an event too large for a commit; the body lies in the object store under `ref` (SHA-256, hex)."""

    of: str
    ref: str
    size: int


class Unknown(Event, frozen=True, kw_only=True, tag="holdfast.unknown"):
    """Read in place of an event whose type this version does not know, from a newer writer. It is never written."""

    of: str
