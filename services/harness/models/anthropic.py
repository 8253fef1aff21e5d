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

from holdfast.harness.context import with_cache_marks
from holdfast.harness.models import Endpoint, ModelFailure, Piece, Request
from holdfast.harness.models.messages import Events, Reader, StreamError

FAILED: Final = "model_request_failed_error"
OVERLOADED: Final = "model_overloaded_error"

_OVERLOADED_STATUS: Final = 529

_TOO_LONG: Final = ("too long", "context limit", "context length")
"""Words of endpoints for a request that is larger than the context of the model."""

LINGER: Final = 0.5
"""Seconds to wait for the end of the body after the end of the answer: then the connection can be used again."""


class AnthropicModel:
    """Speaks to any endpoint that serves the Messages API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._silence = endpoint.silence
        self._leaving: set[asyncio.Task[None]] = set()
        """Answers that are complete, but not the bodies they came in."""
        self._client = AsyncAnthropic(
            base_url=endpoint.base_url or None,
            api_key=endpoint.key,
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
                        yield piece
            if reader.ended:  # the end of the body is not waited for here
                self._leave(response, chunks)
                response = None
            yield reader.answer()
        except TimeoutError:
            text = f"The model sent nothing for {self._silence:g} s."
            raise ModelFailure(FAILED, text, retryable=True) from None
        except (anthropic.APIError, httpx2.HTTPError, ClientError, StreamError, ValueError) as exc:
            raise _failure(exc) from None
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
        body["system"] = [{"type": "text", "text": request.system, **mark}]
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


def _failure(exc: Exception) -> ModelFailure:
    match exc:
        case anthropic.APIStatusError():
            return _refused(exc)
        case anthropic.APIError():
            return ModelFailure(FAILED, f"The model could not be reached: {exc.message}", retryable=True)
        case StreamError():
            kind = OVERLOADED if exc.kind == "overloaded_error" else FAILED
            return ModelFailure(kind, f"The model broke off: {exc}", retryable=True)
        case httpx2.HTTPError() | ClientError():
            return ModelFailure(FAILED, f"The model's answer broke off: {exc}.", retryable=True)
        case _:
            return ModelFailure(FAILED, f"The model's answer could not be used: {exc}.", retryable=True)


def _refused(exc: anthropic.APIStatusError) -> ModelFailure:
    """An error status: what it is called in `session.error`, and whether trying again may help."""
    status, after, body = exc.status_code, _retry_after(exc), _error(exc)
    message = f"The model answered {status}: {str(body.get('message') or exc.message)[:500]}"
    if status == 429:
        return ModelFailure("model_rate_limited_error", message, retryable=True, retry_after=after)
    if status == _OVERLOADED_STATUS or body.get("type") == "overloaded_error":
        return ModelFailure(OVERLOADED, message, retryable=True, retry_after=after)
    if status == 402 or (status == 400 and "credit balance" in message):
        return ModelFailure("billing_error", message, retryable=False)
    refused = status in (400, 413, 422)
    too_long = status == 413 or (refused and any(words in message for words in _TOO_LONG))
    retryable = status in (408, 409) or status >= 500
    return ModelFailure(FAILED, message, retryable=retryable, retry_after=after, too_long=too_long, refused=refused)


def _retry_after(exc: anthropic.APIStatusError) -> float:
    headers = exc.response.headers
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with suppress(ValueError, KeyError):
            return max(float(headers[name]) / unit, 0.0)
    return 0.0


def _error(exc: anthropic.APIStatusError) -> dict[str, Any]:
    body = exc.body
    inner: Any = body.get("error") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return inner if isinstance(inner, dict) else {}  # pyright: ignore[reportUnknownVariableType]
