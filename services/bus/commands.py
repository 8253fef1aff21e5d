"""Requests and answers of core NATS: to the workers that hold hands, and to the vault. None is ever stored. Pure."""

from typing import Any, Literal

import msgspec

from holdfast.bus.events import Block
from holdfast.bus.inputs import VERSION


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=False):
    v: int = msgspec.field(default_factory=lambda: VERSION)  # a factory, so that it is always written


class Provision(Command, frozen=True, kw_only=True):
    """Give the session that hand, or the one it already has.

    The worker reads what to make from the head of the session: no parameter travels beside the log.
    """

    tenant: str
    session: str
    hand: str
    log_seq: int = 0
    """As that of Execute."""


class Provisioned(Command, frozen=True, kw_only=True):
    """The hand is `generation` on `worker`, or `error` says why there is none."""

    generation: str = ""
    worker: str = ""
    kept: str = ""
    """A sentence of the driver for the model: what a loss of this hand leaves."""
    error: str = ""
    """Empty, or a typed cause such as `sandbox_unavailable`."""
    message: str = ""
    declined: bool = False
    """True with an error that may pass, because this worker is full or does not have the session's files: ask again."""
    ask: tuple[str, ...] = ()
    """Ids of workers that may give the hand instead, to be asked directly; only of a request that was declined."""


class Execute(Command, frozen=True, kw_only=True):
    """Run a tool call: `execute(name, input)`. Idempotent by `call`; runs only in `generation` (rules 12 and 13)."""

    tenant: str
    session: str
    call: str
    generation: str
    name: str
    input: dict[str, Any]
    """The input of the model, unchecked; the tool answers a wrong one with an error result."""
    log_seq: int = 0
    """Sequence of the last commit that its sender knows: a replica of the log that is behind it cannot say no."""


class Probe(Command, frozen=True, kw_only=True):
    """Whether the generation lives here: `accepted` or `gone`. Asked before a call is bound to it."""

    tenant: str
    session: str
    generation: str


class Cancel(Command, frozen=True, kw_only=True):
    """Kill the call, or refuse it for ever (rule 18)."""

    tenant: str
    session: str
    call: str
    generation: str


class Confirm(Command, frozen=True, kw_only=True):
    """The result that an answer gave is in the log: the worker may forget it (rule 13). Published, not requested."""

    tenant: str
    session: str
    call: str
    generation: str


class Release(Command, frozen=True, kw_only=True):
    """The session is archived or deleted: end its hands; `files` also removes what they keep for it."""

    tenant: str
    session: str
    files: bool = False


class Answer(Command, frozen=True, kw_only=True):
    """Reply of a worker.

    accepted   the call runs, ran, or is finished: its result comes, or came, to the inbox
    result     the call ended within the window: `content`, `is_error` and `lost` are its result (rule 13)
    refused    the call was cancelled, or is not an open, allowed call of this generation
    cancelled  it will not produce a result any more, or already has
    gone       this worker does not hold that generation, or its lease is over
    done       a release was carried out
    """

    answer: Literal["accepted", "result", "refused", "cancelled", "gone", "done"]
    content: list[Block] = []
    is_error: bool = False
    lost: bool = False
    """As that of CallResult: the call did not finish."""


class VaultRequest(Command, frozen=True, kw_only=True):
    """An administrative request to the vault service: `verb` on vaults, credentials or the secrets of webhooks.

    `sealed` is the secret part of a body, encrypted to the vault's public key: the bus never carries it in clear.
    """

    tenant: str
    verb: str
    vault: str = ""
    credential: str = ""
    webhook: str = ""
    body: dict[str, Any] = {}
    sealed: bytes = b""


class VaultReply(Command, frozen=True, kw_only=True):
    """`status` is that of the HTTP answer; `body` the object of the wire, or `error` with its type and message."""

    status: int = 200
    body: Any = None
    error: str = ""
    message: str = ""


class SignRequest(Command, frozen=True, kw_only=True):
    """Sign the content with the secret of a webhook; answered by a VaultReply with the body `{"signature": …}`."""

    tenant: str
    webhook: str
    content: bytes


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of an answer as it is generated: best effort, stored nowhere. `kind` is the type of the coming event."""

    event: str
    kind: str
    index: int = 0
    text: str = ""
    start: bool = False
    thread: str = ""
    at: int = -1
    """Characters of the block in front of this piece, so that a reader notices a lost one; -1: not told."""
    request: str = ""
    """Of a start: id of the span start of the model request that makes it; empty: not told."""


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a running call of a hand has printed: best effort, stored nowhere, a prefix of its result."""

    call: str
    """Id of the `agent.tool_use` event."""
    text: str
    at: int = 0
    """Characters of the output in front of this piece, so that a reader notices a lost one."""
