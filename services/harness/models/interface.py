"""The interface of a model: a request goes in, the pieces of a streamed response come out. Pure.

A model keeps no state between requests. Cancelling the iteration closes the connection at once.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import msgspec

from holdfast.bus.events import Block, ModelUsage


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a Messages API request. `model` is the agent's `{id, effort, speed, inference_geo}`."""

    model: dict[str, Any]
    system: list[str]
    """Texts of the system prompt in order."""
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    max_tokens: int
    may_call_tools: bool = True
    """False: the response must not contain tool calls."""


class BlockStart(msgspec.Struct, frozen=True):
    """A content block of type `type` began at position `index` of the response."""

    index: int
    type: str


class TextDelta(msgspec.Struct, frozen=True):
    """More text of the block at `index`."""

    index: int
    text: str


class UsageUpdate(msgspec.Struct, frozen=True):
    """Tokens used so far: a request that is cancelled is billed too, so its usage must be known early."""

    usage: ModelUsage


class Response(msgspec.Struct, frozen=True):
    """The complete response. A tool call has `input` None if its input was truncated or is no JSON object."""

    blocks: list[Block]
    stop: str
    usage: ModelUsage
    details: dict[str, Any] | None = None


Piece = BlockStart | TextDelta | UsageUpdate | Response


class ModelFailure(Exception):
    """The request failed. `kind` is an error type of `session.error`; the message is shown to the user."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        outage: bool = False,
        retry_after: float = 0.0,
        context_overflow: bool = False,
        rejected: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        """Repeating the same request may succeed."""
        self.outage = outage
        """The model was unreachable, overloaded or limited the rate: no tokens were used, so a retry costs nothing."""
        self.retry_after = retry_after
        """Seconds to wait according to the endpoint, finite and not negative; 0 if it named none."""
        self.context_overflow = context_overflow
        """The request is larger than the model's context window: compaction may help."""
        self.rejected = rejected
        """The endpoint rejected the content of the request (400, 413, 422): leaving attachments out may help."""


class Model(Protocol):
    def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Yield the pieces in order, a `Response` last. Raises ModelFailure."""
        ...

    async def close(self) -> None: ...


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Address of a model. `key` is empty for an endpoint without authentication; it never leaves the process."""

    base_url: str
    """Empty: the address that the SDK's client for a cloud derives from the cloud's own settings."""
    key: str
    silence: float
    """Seconds without a byte after which a stream counts as dead."""
    auth: Literal["bearer", "x-api-key"] = "bearer"
    """How the key is sent: as `Authorization: Bearer`, as the SDK does, or in the header `x-api-key`."""
    betas: tuple[str, ...] = ()
    """Values of the header `anthropic-beta`."""

    def __repr__(self) -> str:
        return f"Endpoint({self.auth})"
