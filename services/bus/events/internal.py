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


class HandBound(Event, frozen=True, kw_only=True, tag="holdfast.hand_bound"):
    """The hand is `generation` on `worker`; each of its ready calls that is not yet bound belongs to it (rule 12)."""

    hand: str
    generation: str
    worker: str
    kept: str = ""
    """A sentence of its driver for the model: what a loss of this hand leaves."""


class HandLost(Event, frozen=True, kw_only=True, tag="holdfast.hand_lost"):
    """That generation of the hand is gone; its open calls are closed in the same commit (rule 15)."""

    hand: str
    generation: str
    reason: str


class SessionErased(Event, frozen=True, kw_only=True, tag="holdfast.session_erased"):
    """What the deleted session had in streams and buckets is gone, and nobody can add to it any more (rule 29)."""


class Blob(Event, frozen=True, kw_only=True, tag="holdfast.blob"):
    """Stands for an event too large for a commit; the body lies in the object store under `ref` (SHA-256, hex)."""

    of: str
    ref: str
    size: int


class Unknown(Event, frozen=True, kw_only=True, tag="holdfast.unknown"):
    """Read in place of an event whose type this version does not know, from a newer writer. It is never written."""

    of: str
