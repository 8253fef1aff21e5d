"""The HTTP response of one event stream: sends what its buffer holds, and pings when there is nothing to send."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any, Final

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.process import metering, metrics
from holdfast.session.events.buffer import StreamBuffer
from holdfast.session.events.frames import OPEN_COMMENT, PING_FRAME, frames
from holdfast.session.events.subscription import SessionSubscription
from holdfast.session.http.errors import ApiError
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import Position

PING_INTERVAL_S: Final = 10.0
"""Seconds of silence after which a ping is sent."""

_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}

_log = structlog.get_logger()


class EventStreamResponse(Response):
    """`open` subscribes; the response begins only after it, so that nothing stored after its first byte is missed."""

    media_type = "text/event-stream"

    def __init__(
        self,
        sessions: SessionRepository,
        key: Key,
        delta_types: Collection[str],
        position: Position | None,
        *,
        stopping: asyncio.Event,
        on_end: Callable[[], None],
    ) -> None:
        """`position` None: from what is stored from now on. The response ends when `stopping` is set."""
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._sessions = sessions
        self._key = key
        self._on_end = on_end
        self._stopping = stopping
        self._changed = asyncio.Event()
        self._buffer = StreamBuffer(delta_types, position)
        self._subscription = SessionSubscription(sessions, key, self._buffer, self._changed)

    async def open(self) -> None:
        """Subscribe. Raises ApiError 404 and BusError."""
        await self._subscription.open()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send events until the session ends, the client disconnects, or the process stops."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": OPEN_COMMENT, "more_body": True})
            ends: list[asyncio.Task[Any]] = [
                asyncio.create_task(_disconnected(receive), name="event-stream-disconnected"),
                asyncio.create_task(self._stopping.wait(), name="event-stream-stopping"),
                asyncio.create_task(self._send_all(send), name="event-stream-send"),
            ]
            try:
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in ends:
                    task.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
            for task in done:
                task.result()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._on_end()
            await self._subscription.close()

    async def _send_all(self, send: Send) -> None:
        """Send events until the session ends; after an overflow subscribe again once the reader has caught up."""
        while True:
            following = asyncio.create_task(self._subscription.follow(), name="event-stream-follow")
            following.add_done_callback(lambda _: self._changed.set())
            try:
                await self._send_buffered(send, following)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            if self._buffer.ended:
                return
            try:
                if not following.cancelled():
                    following.result()
                await self._subscription.open()
            except (BusError, ApiError) as exc:
                _log.warning("event stream ended early", session=self._key.session, error=str(exc))
                return

    async def _send_buffered(self, send: Send, following: asyncio.Task[None]) -> None:
        """Send what the buffer holds, until `following` has ended and the buffer is empty."""
        while True:
            if not self._buffer:
                if self._buffer.ended or following.done():
                    return
                self._changed.clear()
                try:
                    async with asyncio.timeout(PING_INTERVAL_S):
                        await self._changed.wait()
                except TimeoutError:
                    await send({"type": "http.response.body", "body": PING_FRAME, "more_body": True})
                continue
            items = self._subscription.take()
            if any(isinstance(item, bytes) for item in items):
                self._sessions.unseen.mark_seen(self._key)
            await send({"type": "http.response.body", "body": frames(items), "more_body": True})
            if (asked_at := self._buffer.take_answered()) is not None:
                labels = {metrics.DELTAS: self._buffer.wants_deltas}
                metering.record(metrics.FIRST_TOKEN, (self._sessions.now() - asked_at) / 1e6, labels)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
