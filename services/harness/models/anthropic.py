"""The Messages API through the `anthropic` client, made once per process.

The client connects, authenticates and raises its errors. Bodies go out as bytes, which skips its recursive copy of long
histories, and answers come in as bytes (its documented raw response), which makes a token four times cheaper than its
typed events; `messages` reads them. It speaks HTTP by aiohttp, the SDK's own alternative: with fifty sessions at once
a request then costs half the processor time, for the pool of the default looks at every connection. Retries are the
business of the session (they are events), so the client makes none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final, cast

import anthropic
import httpx2
import msgspec
from aiohttp import ClientError
from anthropic import AsyncAnthropic, AsyncStream, DefaultAioHttpClient

from holdfast.harness.conversation.context import with_cache_marks
from holdfast.harness.models import Endpoint, Piece, Request
from holdfast.harness.models.anthropic_failures import Failures
from holdfast.harness.models.response_reader import Events, Reader, StreamError

_WITHOUT_KEY: Final[Any] = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
"""Headers of a client without a key: an empty one is not sent, and none is looked for in the environment."""

LINGER: Final = 0.5
"""Seconds to wait for the end of the body after the end of the answer: then the connection can be used again."""


class AnthropicModel:
    """Speaks to any endpoint that serves the Messages API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._silence = endpoint.silence
        self._failures = Failures(endpoint)
        self._leaving: set[asyncio.Task[None]] = set()
        """Answers that are complete, but not the bodies they came in."""
        self._client = AsyncAnthropic(
            base_url=endpoint.base_url,
            api_key=endpoint.key,
            default_headers=None if endpoint.key else _WITHOUT_KEY,
            max_retries=0,
            timeout=anthropic.Timeout(endpoint.silence, connect=10.0),
            http_client=DefaultAioHttpClient(),
        )

    async def close(self) -> None:
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        await self._client.close()

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See Model.stream."""
        response: httpx2.Response | None = None
        events, reader = Events(), Reader()
        began = False
        try:
            async with asyncio.timeout(self._silence):
                response = cast(
                    "httpx2.Response",
                    await self._client.post(
                        "/v1/messages",
                        cast_to=httpx2.Response,
                        content=msgspec.json.encode(_body(request)),
                        options={"headers": {"content-type": "application/json"}},
                        stream=True,
                        stream_cls=AsyncStream[Any],
                    ),
                )
            chunks = response.aiter_bytes()
            while not reader.ended:
                async with asyncio.timeout(self._silence):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                for event in events.feed(chunk):
                    for piece in reader.read(event):
                        began = True
                        yield piece
            if reader.ended:  # the end of the body is not waited for here
                self._leave(response, chunks)
                response = None
            yield reader.answer()
        except (TimeoutError, anthropic.APIError, httpx2.HTTPError, ClientError, StreamError, ValueError) as exc:
            raise self._failures.of(exc, began=began) from None
        finally:
            if response is not None:
                await _close(response)

    def _leave(self, response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
        task = asyncio.create_task(_finish(response, chunks))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def _finish(response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can be used again; without one it is closed."""
    try:
        with suppress(TimeoutError, httpx2.HTTPError, ClientError, OSError):
            async with asyncio.timeout(LINGER):
                async for _ in chunks:
                    pass
    finally:
        await _close(response)


async def _close(response: httpx2.Response) -> None:
    with suppress(httpx2.HTTPError, ClientError, OSError):
        await response.aclose()


def _body(request: Request) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model["id"],
        "max_tokens": request.max_tokens,
        "messages": with_cache_marks(request.messages),
        "stream": True,
    }
    mark = {"cache_control": {"type": "ephemeral"}}
    if request.system:
        texts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in request.system]
        body["system"] = [*texts[:-1], {**texts[-1], **mark}]
    if request.tools:
        body["tools"] = [*request.tools[:-1], {**request.tools[-1], **mark}]
        if not request.may_call:
            body["tool_choice"] = {"type": "none"}
    given: dict[str, Any] = request.model.get("effort") or {}
    effort = given.get("type")
    if effort and effort != "high":
        body["output_config"] = {"effort": effort}
    if geo := request.model.get("inference_geo"):
        body["inference_geo"] = geo
    return body
