"""Models: a request in, pieces of an answer out. One file a kind of endpoint; add it to `MODELS` and it can be chosen.

A model keeps no state between requests. Cancelling the iteration closes the connection at once.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec

from holdfast.bus.events import Block, ModelUsage


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the Messages API spells its parts. `model` is the agent's `{id, effort, speed, inference_geo}`."""

    model: dict[str, Any]
    system: list[str]
    """Texts of the system prompt in order."""
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]]
    max_tokens: int
    may_call: bool = True
    """False: the answer must not call tools."""


class BlockStart(msgspec.Struct, frozen=True):
    """A block of that type began at that index of the answer."""

    index: int
    type: str


class TextDelta(msgspec.Struct, frozen=True):
    """More text of the block at `index`."""

    index: int
    text: str


class UsageUpdate(msgspec.Struct, frozen=True):
    """Tokens used so far, so that a request that is cut short is counted too."""

    usage: ModelUsage


class Response(msgspec.Struct, frozen=True):
    """The whole answer. A tool call whose input was no JSON object, or was cut off, has `input` None."""

    blocks: list[Block]
    stop: str
    usage: ModelUsage
    details: dict[str, Any] | None = None


Piece = BlockStart | TextDelta | UsageUpdate | Response


class ModelFailure(Exception):
    """The request failed. `kind` is an error type of `session.error`; the text may be shown to the user."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        outage: bool = False,
        retry_after: float = 0.0,
        too_long: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        """Trying again may help."""
        self.outage = outage
        """The model was away, busy or limits the rate: to ask again costs nothing, however long it takes."""
        self.retry_after = retry_after
        """Seconds the endpoint asked to wait, as it said it; 0: it did not say."""
        self.too_long = too_long
        """The context does not fit: compacting may help."""
        self.refused = refused
        """The endpoint does not take the request as it is: leaving something out may help."""


class Model(Protocol):
    def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Pieces in order, an Answer last. Raises ModelFailure."""
        ...

    async def close(self) -> None: ...


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model is reached. `key` never leaves the process; empty: the endpoint takes none."""

    base_url: str
    key: str
    silence: float
    """Seconds without any byte after which a stream counts as dead."""

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r})"


def _anthropic(endpoint: Endpoint) -> Model:
    from holdfast.harness.models.anthropic import AnthropicModel  # noqa: PLC0415  loaded only when chosen

    return AnthropicModel(endpoint)


MODELS: dict[str, Callable[[Endpoint], Model]] = {"anthropic": _anthropic}
