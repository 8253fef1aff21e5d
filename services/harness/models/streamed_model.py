"""What the kinds of client have in common: one request, its streamed response read to the end, its failures.

The kinds differ in how they send a request and in the errors of their library. Everything else is here once:

- Responses are read as bytes by `sse` and `response_reader`: a token costs a quarter of the processor time of the
  typed events of the `anthropic` client.
- A stream is bounded by its silence, not by its duration: each wait for the next bytes has the same limit.
- No retries: those are events of the session (`turn/retry.py`).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, ClassVar, Final, Protocol

import structlog

from holdfast.harness.models.failures import Failures, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure, Piece, Request
from holdfast.harness.models.request_body import request_body
from holdfast.harness.models.response_reader import ResponseReader, StreamError
from holdfast.harness.models.sse import SseReader

CONNECT_TIMEOUT_S: Final = 10.0
"""Time to open a connection, TLS included."""

BODY_END_TIMEOUT_S: Final = 0.5
"""Time to wait for the end of the body after the last event; a body read to its end leaves a reusable connection."""

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
        sse, reader, progress = SseReader(), ResponseReader(), Progress()
        try:
            async with asyncio.timeout(self._silence):
                body = await self._send(request_body(request))
            progress.answered, progress.request = True, body.request_id
            while not reader.ended:
                async with asyncio.timeout(self._silence):
                    chunk = await body.read()
                if not chunk:
                    break
                for event in sse.feed(chunk):
                    for piece in reader.read(event):
                        progress.began = True
                        yield piece
            if reader.ended:
                self._finish_later(body)
                body = None
            log.debug("model.responded", request_id=progress.request)
            yield reader.response()
        except StreamError as exc:
            raise self._failures.stream_error(exc, progress) from None
        except (*self.ERRORS, TimeoutError, ValueError) as exc:
            raise self._failure(exc, progress) or self._failures.unusable(exc, progress) from None
        finally:
            if body is not None:
                await self._discard(body)

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
