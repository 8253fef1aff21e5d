"""The Messages API through one `anthropic` client per process.

The client connects, authenticates and raises its errors. Three things are done around it:

- Request bodies are encoded here and sent as bytes, because the client would copy a long history recursively.
- Responses are read as bytes (the client's documented raw response) by `sse` and `response_reader`, because a token
  costs a quarter of the processor time of the client's typed events.
- HTTP goes through aiohttp, which the SDK offers as an alternative: with fifty sessions at once a request costs half
  the processor time, because the default's pool walks over all its connections for each request.

The client makes no retries: retries are events of the session (`turn/retry.py`).
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

from holdfast.harness.conversation.cache_marks import CACHE_MARK, with_cache_marks
from holdfast.harness.models.anthropic_failures import FailureTranslator
from holdfast.harness.models.interface import Endpoint, Piece, Request
from holdfast.harness.models.response_reader import ResponseReader, StreamError
from holdfast.harness.models.sse import SseReader

_WITHOUT_KEY: Final[Any] = {"X-Api-Key": anthropic.Omit(), "Authorization": anthropic.Omit()}
"""Headers for an endpoint without a key: the client sends no empty key and reads none from the environment."""

CONNECT_TIMEOUT_S: Final = 10.0
"""Time to open a connection."""

BODY_END_TIMEOUT_S: Final = 0.5
"""Time to wait for the end of the body after the last event; a body read to its end leaves a reusable connection."""


class AnthropicModel:
    """Speaks to any endpoint that serves the Messages API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._silence = endpoint.silence
        self._failures = FailureTranslator(endpoint)
        self._finishing: set[asyncio.Task[None]] = set()
        """Tasks that read a body to its end after its last event."""
        self._client = AsyncAnthropic(
            base_url=endpoint.base_url,
            api_key=endpoint.key,
            default_headers=None if endpoint.key else _WITHOUT_KEY,
            max_retries=0,
            timeout=anthropic.Timeout(endpoint.silence, connect=CONNECT_TIMEOUT_S),
            http_client=DefaultAioHttpClient(),
        )

    async def close(self) -> None:
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        await self._client.close()

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See Model.stream."""
        response: httpx2.Response | None = None
        sse, reader = SseReader(), ResponseReader()
        began = False
        try:
            response = await self._post(_body(request))
            chunks = response.aiter_bytes()
            while not reader.ended:
                async with asyncio.timeout(self._silence):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                for event in sse.feed(chunk):
                    for piece in reader.read(event):
                        began = True
                        yield piece
            if reader.ended:
                self._finish_later(response, chunks)
                response = None
            yield reader.response()
        except (TimeoutError, anthropic.APIError, httpx2.HTTPError, ClientError, StreamError, ValueError) as exc:
            raise self._failures.translate(exc, began=began) from None
        finally:
            if response is not None:
                await _close(response)

    async def _post(self, body: dict[str, Any]) -> httpx2.Response:
        """Send the request and return when the headers of the response have arrived."""
        async with asyncio.timeout(self._silence):
            return cast(
                "httpx2.Response",
                await self._client.post(
                    "/v1/messages",
                    cast_to=httpx2.Response,
                    content=msgspec.json.encode(body),
                    options={"headers": {"content-type": "application/json"}},
                    stream=True,
                    stream_cls=AsyncStream[Any],
                ),
            )

    def _finish_later(self, response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
        """Read the rest of the body in a task, so that the caller gets the response now."""
        task = asyncio.create_task(_finish(response, chunks))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)


async def _finish(response: httpx2.Response, chunks: AsyncIterator[bytes]) -> None:
    """Read the body to its end, so that the connection can be reused; after BODY_END_TIMEOUT_S close it instead."""
    try:
        with suppress(TimeoutError, httpx2.HTTPError, ClientError, OSError):
            async with asyncio.timeout(BODY_END_TIMEOUT_S):
                async for _ in chunks:
                    pass
    finally:
        await _close(response)


async def _close(response: httpx2.Response) -> None:
    with suppress(httpx2.HTTPError, ClientError, OSError):
        await response.aclose()


def _body(request: Request) -> dict[str, Any]:
    """The JSON body. Cache breakpoints: last system text, last tool, last two user messages (four are allowed)."""
    body: dict[str, Any] = {
        "model": request.model["id"],
        "max_tokens": request.max_tokens,
        "messages": with_cache_marks(request.messages),
        "stream": True,
    }
    if request.system:
        texts: list[dict[str, Any]] = [{"type": "text", "text": text} for text in request.system]
        body["system"] = [*texts[:-1], {**texts[-1], **CACHE_MARK}]
    if request.tools:
        body["tools"] = [*request.tools[:-1], {**request.tools[-1], **CACHE_MARK}]
        if not request.may_call_tools:
            body["tool_choice"] = {"type": "none"}
    effort_object: dict[str, Any] = request.model.get("effort") or {}
    effort = effort_object.get("type")
    if effort and effort != "high":
        body["output_config"] = {"effort": effort}
    if geo := request.model.get("inference_geo"):
        body["inference_geo"] = geo
    return body
