"""The Messages API through the `anthropic` client, made once per process.

The raw event stream is read instead of the client's accumulator: a token costs less, and a tool input that is not JSON
is ours to judge. Bodies are given as bytes, which skips the client's recursive copy of long histories.
Retries are the session's business (they are events), so the client makes none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anthropic
import httpx2
import msgspec
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.types import Message, RawMessageStreamEvent

from services.bus.events import Block, ModelUsage
from services.harness.context import with_cache_marks
from services.harness.models import Answer, Begun, Endpoint, ModelFailure, Piece, Request, Text, Used

_OVERLOADED = 529


class AnthropicModel:
    """Speaks to any endpoint that serves the Messages API."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._silence = endpoint.silence
        self._client = AsyncAnthropic(
            base_url=endpoint.base_url or None,
            api_key=endpoint.key,
            max_retries=0,
            timeout=anthropic.Timeout(endpoint.silence, connect=10.0),
        )

    async def close(self) -> None:
        await self._client.close()

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See Model.stream."""
        stream: AsyncStream[RawMessageStreamEvent] | None = None
        reader = _Reader()
        try:
            async with asyncio.timeout(self._silence):
                stream = await self._client.post(
                    "/v1/messages",
                    cast_to=Message,
                    content=msgspec.json.encode(_body(request)),
                    options={"headers": {"content-type": "application/json"}},
                    stream=True,
                    stream_cls=AsyncStream[RawMessageStreamEvent],
                )
            events = stream.__aiter__()
            while True:
                async with asyncio.timeout(self._silence):
                    event = await anext(events, None)
                if event is None:
                    break
                for piece in reader.read(event):
                    yield piece
            yield reader.answer()
        except TimeoutError:
            text = f"The model sent nothing for {self._silence:g} s."
            raise ModelFailure("model_request_failed_error", text, retryable=True) from None
        except (anthropic.APIError, httpx2.HTTPError, msgspec.MsgspecError, ValueError) as exc:
            raise _failure(exc) from None
        finally:
            if stream is not None:
                with suppress(anthropic.APIError, httpx2.HTTPError, OSError):
                    await stream.close()


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


class _Reader:
    """Folds the raw events of one answer."""

    def __init__(self) -> None:
        self._blocks: dict[int, Block] = {}
        self._json: dict[int, list[str]] = {}
        self._open: set[int] = set()
        self._usage: dict[str, int] = {}
        self._stop = ""
        self._details: dict[str, Any] | None = None
        self._ended = False

    def read(self, event: RawMessageStreamEvent) -> list[Piece]:
        match event.type:
            case "message_start":
                self._count(event.message.usage)
                return [Used(msgspec.convert(self._usage, ModelUsage))]
            case "content_block_start":
                block = event.content_block.model_dump(exclude_none=True, warnings=False)
                self._blocks[event.index] = block
                self._open.add(event.index)
                out: list[Piece] = [Begun(event.index, str(block.get("type")))]
                if block.get("type") == "text" and block.get("text"):
                    out.append(Text(event.index, block["text"]))
                return out
            case "content_block_delta":
                return self._delta(event.index, event.delta)
            case "content_block_stop":
                self._open.discard(event.index)
            case "message_delta":
                self._stop = event.delta.stop_reason or self._stop
                if event.delta.stop_details:
                    self._details = event.delta.stop_details.model_dump(warnings=False)
                self._count(event.usage)
            case "message_stop":
                self._ended = True
            case _:
                pass
        return []

    def _delta(self, index: int, delta: Any) -> list[Piece]:
        block = self._blocks.get(index)
        if block is None:
            return []
        match delta.type:
            case "text_delta":
                block["text"] = block.get("text", "") + delta.text
                return [Text(index, delta.text)]
            case "input_json_delta":
                self._json.setdefault(index, []).append(delta.partial_json)
            case "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta.thinking
            case "signature_delta":
                block["signature"] = block.get("signature", "") + delta.signature
            case _:
                pass
        return []

    def _count(self, usage: Any) -> None:
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ):
            value = getattr(usage, name, None)
            if isinstance(value, int) and value >= 0:
                self._usage[name] = value

    def answer(self) -> Answer:
        if not self._ended:
            raise ValueError("the stream ended before the answer did")
        for index, block in self._blocks.items():
            if block.get("type") == "tool_use":
                block["input"] = self._input(index, block)
        blocks = [self._blocks[i] for i in sorted(self._blocks)]
        usage = msgspec.convert(self._usage, ModelUsage)
        return Answer(blocks, self._stop or "end_turn", usage, self._details)

    def _input(self, index: int, block: Block) -> dict[str, Any] | None:
        """The input of a tool call; None when it is cut off or no object."""
        parts = self._json.get(index)
        if index in self._open:
            return None
        if not parts or not "".join(parts).strip():
            given: Any = block.get("input")
            return given if isinstance(given, dict) else None  # pyright: ignore[reportUnknownVariableType]
        try:
            return msgspec.json.decode("".join(parts).encode(), type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return None


def _failure(exc: Exception) -> ModelFailure:  # noqa: PLR0911  a table of answers
    failed = "model_request_failed_error"
    if isinstance(exc, httpx2.HTTPError):  # in mid-stream the client lets the transport's errors through
        return ModelFailure(failed, f"The model's answer broke off: {exc}.", retryable=True)
    if not isinstance(exc, anthropic.APIError):
        return ModelFailure(failed, f"The model's answer could not be used: {exc}.", retryable=True)
    if isinstance(exc, anthropic.APIStatusError):
        status, after = exc.status_code, _retry_after(exc)
        message = f"The model {f'answered {status}' if status >= 400 else 'broke off'}: {_message(exc)}"
        if status == 429:
            return ModelFailure("model_rate_limited_error", message, retryable=True, retry_after=after)
        if status == _OVERLOADED or _type(exc) == "overloaded_error":
            return ModelFailure("model_overloaded_error", message, retryable=True, retry_after=after)
        if status == 402:
            return ModelFailure("billing_error", message, retryable=False)
        too_long = status == 413 or (status == 400 and "too long" in message)
        retryable = status in (408, 409) or status >= 500
        return ModelFailure(failed, message, retryable=retryable, retry_after=after, too_long=too_long)
    kind = "model_overloaded_error" if _type(exc) == "overloaded_error" else failed
    return ModelFailure(kind, f"The model could not be reached, or its answer broke off: {exc.message}", retryable=True)


def _retry_after(exc: anthropic.APIStatusError) -> float:
    headers = exc.response.headers
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with suppress(ValueError, KeyError):
            return max(float(headers[name]) / unit, 0.0)
    return 0.0


def _error(exc: anthropic.APIError) -> dict[str, Any]:
    body = exc.body
    inner: Any = body.get("error") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return inner if isinstance(inner, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _type(exc: anthropic.APIError) -> str:
    return str(_error(exc).get("type", ""))


def _message(exc: anthropic.APIError) -> str:
    return str(_error(exc).get("message") or exc.message)[:500]
