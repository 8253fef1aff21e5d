"""Requests to a model through a kind of client, without a stack."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from holdfast.harness.models.interface import Endpoint, Model, ModelFailure, Piece, Request, Response
from holdfast.harness.models.registry import MODELS

KEY = "sk-canary-0123456789"
SILENCE_S = 5.0


def request(text: str = "hi", **fields: Any) -> Request:
    """A request that says `text`."""
    content = [{"type": "text", "text": text}]
    given: dict[str, Any] = {"model": {"id": "m"}, "system": [], "tools": [], "max_tokens": 10, **fields}
    return Request(messages=[{"role": "user", "content": content}], **given)


@contextlib.asynccontextmanager
async def client(kind: str, url: str, **endpoint: Any) -> AsyncGenerator[Model]:
    """A client of that kind for the address; `endpoint` are other fields of `Endpoint`."""
    model = MODELS[kind](Endpoint(**{"base_url": url, "key": KEY, "silence": SILENCE_S, **endpoint}))
    try:
        yield model
    finally:
        await model.close()


async def pieces(model: Model, asked: Request | None = None) -> list[Piece]:
    """Everything that comes of one request. Raises ModelFailure."""
    return [piece async for piece in model.stream(asked or request())]


async def ask(kind: str, url: str, asked: Request | None = None, **endpoint: Any) -> Response:
    """The response to one request of a new client. Raises ModelFailure."""
    async with client(kind, url, **endpoint) as model:
        last = (await pieces(model, asked))[-1]
    assert isinstance(last, Response)
    return last


class Failed(msgspec.Struct, frozen=True):
    """A failure as a value, to compare."""

    text: str
    kind: str
    retryable: bool
    outage: bool
    retry_after: float = 0.0
    context_overflow: bool = False
    rejected: bool = False


async def failure(kind: str, url: str, asked: Request | None = None, **endpoint: Any) -> Failed:
    """How a request of a new client fails. The key is never in it."""
    with pytest.raises(ModelFailure) as raised:
        await ask(kind, url, asked, **endpoint)
    found = raised.value
    assert KEY not in str(found)
    return Failed(
        str(found),
        found.kind,
        found.retryable,
        found.outage,
        found.retry_after,
        found.context_overflow,
        found.rejected,
    )
