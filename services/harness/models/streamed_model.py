"""What the kinds of client have in common: one request, its streamed response read to the end, its failures.

The kinds differ in how they send a request and in the errors of their library. Everything else is here once:

- Responses are read as bytes by `sse` and `response_reader`: a token costs a quarter of the processor time of the
  typed events of the `anthropic` client.
- A stream is bounded by its silence, not by its duration: each wait for the next bytes has the same limit.
- A response whose stop reason was read counts, however the stream ends after that.
- The size of a response is bounded. A larger one is cut, as if the model had reached its limit of tokens.
- The key of the endpoint leaves this module in no text, whatever the endpoint repeats.
- No retries: those are events of the session (`turn/retry.py`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, ClassVar, Final, Protocol

import structlog

from holdfast.harness.models.failures import REQUEST_ID_LIMIT_CHARS, Failures, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure, Piece, Request, Response
from holdfast.harness.models.request_body import request_body
from holdfast.harness.models.response_reader import ResponseReader, StreamError
from holdfast.harness.models.scrub import Scrubber
from holdfast.harness.models.sse import EventTooLarge, SseReader

CONNECT_TIMEOUT_S: Final = 10.0
"""Time to open a connection, TLS included."""

BODY_END_TIMEOUT_S: Final = 0.5
"""Time to wait for the end of the body after the last event; a body read to its end leaves a reusable connection."""

STOP_TIMEOUT_S: Final = 2.0
"""Time to wait for the rest of a response whose stop reason has been read: token counts, and the last event."""

OFF_LOOP_CHARS: Final = 256 * 1024
"""A response of this size is decoded in a thread, so that it does not stop the event loop."""

ERROR_BODY_LIMIT_BYTES: Final = 64 * 1024
"""Bytes that are read of the body of an error status."""

ERROR_BODY_TIMEOUT_S: Final = 5.0
"""Time to wait for them."""

log = structlog.get_logger()


class ResponseBody(Protocol):
    """The body of a response whose status is a success."""

    request_id: str
    """The id that the endpoint gave the request; empty if it gave none."""

    async def read(self) -> bytes:
        """The next bytes, decompressed; empty at the end."""
        ...

    async def close(self) -> None:
        """Close the connection, or give it back if the body was read to its end."""
        ...


class StreamedModel(ABC):
    """A model behind the Messages API. A kind adds how it sends, and what its library raises."""

    ERRORS: ClassVar[tuple[type[Exception], ...]]
    """Exceptions of the library of this kind that are failures of a request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._silence = endpoint.silence
        self._failures = Failures(endpoint)
        self._scrubber = Scrubber(endpoint.key)
        self._finishing: set[asyncio.Task[None]] = set()
        """Tasks that read a body to its end after its last event."""

    @abstractmethod
    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        """Send the request; return when the headers of a success have arrived. Raises one of ERRORS."""

    @abstractmethod
    def _failure(self, exc: Exception, progress: Progress) -> ModelFailure | None:
        """The failure of an error of this kind's library; None: what came could not be used."""

    @abstractmethod
    async def _close(self) -> None:
        """Close the client of the library."""

    async def close(self) -> None:
        """See Model.close."""
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        await self._close()

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See Model.stream."""
        body: ResponseBody | None = None
        failure: ModelFailure | None = None
        sse, reader, progress = SseReader(), ResponseReader(self._scrubber), Progress()
        try:
            async with asyncio.timeout(self._silence):
                body = await self._send(request_body(request))
            progress.answered, progress.request = True, self._scrubber.word(body.request_id, REQUEST_ID_LIMIT_CHARS)
            while not (reader.ended or reader.is_cut):
                chunk = await self._read(body, reader)
                for piece in _pieces(chunk, sse, reader):
                    progress.began = True
                    yield piece
                if not chunk:
                    break
            if reader.ended:
                self._finish_later(body)
                body = None
        except (*self.ERRORS, StreamError, TimeoutError, ValueError) as exc:
            if isinstance(exc, EventTooLarge) and reader.began:
                reader.cut()
            failure = self._failed(exc, progress)
        finally:
            if body is not None:
                await self._discard(body)
        if failure is not None and not reader.stopped:
            raise failure
        try:
            response = await _response(reader)
        except ValueError as exc:
            raise self._failed(exc, progress) from None
        log.debug("model.responded", request_id=progress.request, broke_off=str(failure or ""))
        yield response

    def _failed(self, exc: Exception, progress: Progress) -> ModelFailure:
        if isinstance(exc, StreamError):
            return self._failures.stream_error(exc, progress)
        return self._failure(exc, progress) or self._failures.unusable(exc, progress)

    async def _read(self, body: ResponseBody, reader: ResponseReader) -> bytes:
        """The next bytes; empty at the end. Once the response is complete, there is little more to wait for."""
        limit_s = min(self._silence, STOP_TIMEOUT_S) if reader.stopped else self._silence
        async with asyncio.timeout(limit_s):
            return await body.read()

    def _finish_later(self, body: ResponseBody) -> None:
        """Read the rest of the body in a task, so that the caller gets the response now."""
        task = asyncio.create_task(self._finish(body))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, body: ResponseBody) -> None:
        """Read the body to its end, so that the connection can be reused; after BODY_END_TIMEOUT_S close it instead."""
        try:
            with suppress(TimeoutError, OSError, *self.ERRORS):
                async with asyncio.timeout(BODY_END_TIMEOUT_S):
                    while await body.read():
                        pass
        finally:
            await self._discard(body)

    async def _discard(self, body: ResponseBody) -> None:
        with suppress(OSError, *self.ERRORS):
            await body.close()


def _pieces(chunk: bytes, sse: SseReader, reader: ResponseReader) -> Iterator[Piece]:
    """The pieces that a chunk adds; of an empty one, those of an event at the end of the stream."""
    for event in sse.feed(chunk) if chunk else sse.end():
        yield from reader.read(event)


async def _response(reader: ResponseReader) -> Response:
    """Raises ValueError."""
    if reader.size > OFF_LOOP_CHARS:
        return await asyncio.to_thread(reader.response)
    return reader.response()


async def beginning(read: Callable[[], Awaitable[bytes]], *, ignore: tuple[type[Exception], ...]) -> bytes:
    """The first bytes of an error's body; what came in time before one of the errors `ignore`: the status says most."""
    found = bytearray()
    with suppress(TimeoutError, *ignore):
        async with asyncio.timeout(ERROR_BODY_TIMEOUT_S):
            while len(found) < ERROR_BODY_LIMIT_BYTES and (chunk := await read()):
                found += chunk
    return bytes(found[:ERROR_BODY_LIMIT_BYTES])
