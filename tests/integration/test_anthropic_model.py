"""The kind `anthropic` sends what the client of the SDK sends, and asks it once."""

import asyncio
from typing import Any

from anthropic import AsyncAnthropic

from tests.support.model_client import KEY, client, pieces
from tests.support.raw_model import Received, raw_model, stream

OF_THE_CONNECTION = {"accept-encoding", "connection", "content-length", "host"}
"""Made by whoever sends: aiohttp, or the HTTP client of the SDK."""

TIMEOUTS = {"x-stainless-timeout", "x-stainless-read-timeout"}
"""What the SDK tells of its own time limit: ours is a silence."""


def told(received: Received, *, without: set[str] = OF_THE_CONNECTION) -> dict[str, str]:
    return {name: text for name, text in received.headers.items() if name not in without}


async def ask_by_the_sdk(url: str) -> None:
    async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as sdk:
        message: Any = {"role": "user", "content": "hi"}
        async for _ in await sdk.messages.create(model="m", max_tokens=10, messages=[message], stream=True):
            pass


async def test_address_and_headers_are_those_of_the_sdk() -> None:
    async with raw_model(stream()) as server:
        await ask_by_the_sdk(server.url + "/gateway")
        async with client("anthropic", server.url + "/gateway") as model:
            await pieces(model)
    theirs, ours = server.requests
    assert ours.line == theirs.line
    without = OF_THE_CONNECTION | TIMEOUTS
    assert told(ours, without=without) == told(theirs, without=without)
    assert ours.headers["user-agent"].startswith("AsyncAnthropic/")
    assert "x-stainless-package-version" in ours.headers


async def test_each_request_repeats_the_headers_of_the_first() -> None:
    async with raw_model(stream()) as server, client("anthropic", server.url) as model:
        await asyncio.gather(*(pieces(model) for _ in range(3)))
        await pieces(model)
    assert len(server.requests) == 4
    assert all(told(received) == told(server.requests[0]) for received in server.requests)


async def test_the_sdk_makes_the_same_headers_for_each_request() -> None:
    """Why they may be repeated. If this fails, `AnthropicModel` has to ask the client each time."""
    async with raw_model(stream()) as server:
        for _ in range(3):
            await ask_by_the_sdk(server.url)
    first, *others = server.requests
    assert [told(received) for received in others] == [told(first)] * 2
