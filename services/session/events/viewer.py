"""One open event stream: the log from a position on, with deltas and the output of tools between its events.

Each frame has the `event:` line that the SDK wants, and events of the log an `id:` with their position. Deltas have no
id, are stored nowhere, and are dropped first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec
import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Message, Subscription
from holdfast.bus.commands import Delta, Output
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.session.events.deltas import Previews, merged, preview_object
from holdfast.session.events.tool_output import KIND, Outputs
from holdfast.session.http.errors import ApiError
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import START, Position, Shown, event_object, shown

PING: Final = 10.0
"""Seconds of silence after which a sign of life is sent."""

BEHIND: Final = 2_000
"""Frames held for a slow reader. Above it deltas are dropped, and previews that have begun get no more of them; if it
is events that pile up, they are let go and read from the log again when the reader has caught up."""

LIVE_BEHIND: Final = 1_000_000
"""Characters of deltas and outputs held for a slow reader. Above it they are dropped as above `BEHIND`."""

_PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
_HELLO: Final = b": open\n\n"
_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}

_deltas: msgspec.json.Decoder[list[Delta] | Delta] = msgspec.json.Decoder(list[Delta] | Delta)
_output = msgspec.json.Decoder(Output)
_log = structlog.get_logger()


def behind(seq: int) -> Position:
    """The position behind all events of that commit."""
    return Position(seq + 1, -1)


def frame(kind: str, body: Any, position: Position | None = None) -> bytes:
    """One server-sent event."""
    data = msgspec.json.encode(body)
    if position is None:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind.encode(), str(position).encode(), data)


class Viewer(Response):
    """One open connection. `open` subscribes; only then the response begins, so nothing sent after it is missed."""

    media_type = "text/event-stream"

    def __init__(
        self,
        ledger: SessionRepository,
        key: Key,
        kinds: Sequence[str],
        after: Position | None,
        stopping: asyncio.Event,
    ) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._ledger = ledger
        self._stopping = stopping
        self._key = key
        self._at = after
        previewed = [kind for kind in kinds if kind != KIND]
        self._previews = Previews(previewed) if previewed else None
        self._outputs = Outputs() if KIND in kinds else None
        self._queue: deque[Shown | Delta] = deque()
        self._queued = 0
        """Characters of the deltas in the queue."""
        self._wake = asyncio.Event()
        self._replayed = 0
        """Sequence of the last commit when the connection opened. Deltas are shown only behind it."""
        self._seen = 0
        """Sequence of the last commit that was taken."""
        self._opening = True
        self._early: list[Delta | Output] = []
        """Deltas and outputs heard while the connection opens and until the history is shown."""
        self._late = False
        """The reader is far behind: what it did not take is read from the log later."""
        self._over = False
        self._tail: AsyncGenerator[Stored | None] | None = None
        self._heard: list[Subscription] = []

    # --- listening -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Subscribe, then look at the session. Raises Problem 404, Unavailable."""
        key, ledger = self._key, self._ledger
        self._opening, self._late = True, False
        self._early.clear()
        try:
            if not self._heard:
                await self._subscribe()
            if self._at is None:
                last = await ledger.last(key, leader=True)
                self._at = behind(last.seq)
            else:
                last = None
            after = max(self._at.seq - 1, 0)
            self._tail = ledger.bus.log.tail(key, after)
            await anext(self._tail)
            last = last or await ledger.last(key, leader=True)
        except BaseException:
            await self._close()
            raise
        head = last.commit.head
        self._seen, self._replayed = after, last.seq
        if self._previews is not None:
            self._previews.begin({name: thread.request for name, thread in head.threads.items() if thread.request})
        if self._outputs is not None:
            self._outputs.begin(head)
        self._opening = False
        self._caught_up()
        known = self._at.seq > last.seq or (self._at.seq == last.seq and not any(shown(last, self._at)))
        self._over = bool(head.archived) and known  # nothing will ever come

    async def _subscribe(self) -> None:
        bus, key = self._ledger.bus, self._key
        if self._previews is not None:
            self._heard.append(await bus.core.subscribe(subjects.delta(key), self._hear))
        if self._outputs is not None:
            self._heard.append(await bus.core.subscribe(subjects.output(key), self._hear_output))

    async def _close(self) -> None:
        if self._tail is not None:
            await self._tail.aclose()
        heard, self._heard = self._heard, []
        for subscription in heard:
            await subscription.close()

    async def _hear(self, message: Message) -> None:
        """Deltas, as they are published."""
        try:
            found = _deltas.decode(message.data)
        except msgspec.MsgspecError:
            _log.warning("a delta is unreadable", session=self._key.session)
            return
        self._heard_live(found if isinstance(found, list) else [found])

    async def _hear_output(self, message: Message) -> None:
        """Output of running calls, as it is published."""
        try:
            found = _output.decode(message.data)
        except msgspec.MsgspecError:
            _log.warning("the output of a call is unreadable", session=self._key.session)
            return
        self._heard_live([found])

    def _heard_live(self, found: Sequence[Delta | Output]) -> None:
        if self._late:
            return
        if not self._opening and self._seen >= self._replayed:
            self._show_live(found)
        else:
            self._early += found
            if len(self._early) > BEHIND or _characters(self._early) > LIVE_BEHIND:
                self._early.clear()  # those that follow a start that is dropped here are not shown

    def _show_live(self, found: Sequence[Delta | Output]) -> None:
        if len(self._queue) > BEHIND or self._queued > LIVE_BEHIND:
            self._queue = deque(item for item in self._queue if isinstance(item, Shown))
            self._queued = 0
            for shows in (self._previews, self._outputs):
                if shows is not None:
                    shows.cut()
        if self._previews is not None:
            self._queue_live(self._previews.take(one for one in found if isinstance(one, Delta)))
        if self._outputs is not None:
            self._queue_live(self._outputs.take(one for one in found if isinstance(one, Output)))

    def _queue_live(self, deltas: Sequence[Delta]) -> None:
        self._queue += deltas
        self._queued += _characters(deltas)
        self._wake.set()

    def _caught_up(self) -> None:
        """If the history has been taken, take what was heard meanwhile."""
        if self._early and self._seen >= self._replayed:
            early, self._early = self._early, []
            self._show_live(early)

    async def _pump(self) -> None:
        """Take what is stored, until the session ends or the reader is far behind."""
        assert self._tail is not None
        async with aclosing(self._tail) as tail:
            async for stored in tail:
                if stored is not None:
                    for one in shown(stored, self._at or START):
                        self._take(one)
                    self._seen = stored.seq
                    self._wake.set()
                    self._caught_up()
                if self._over or self._late:
                    return

    def _take(self, one: Shown) -> None:
        if self._over or self._late:
            return
        self._queue.append(one)
        self._at = one.position
        if self._seen >= self._replayed:
            if self._outputs is not None:
                self._outputs.follow(one.event)
            if self._previews is not None:
                self._queue_live(self._previews.follow(one.event))
        self._over = isinstance(one.event, ev.SessionDeleted | ev.SessionStatusTerminated)
        self._late = len(self._queue) > BEHIND

    # --- telling ---------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Answer until the session ends, the client leaves, or the process stops."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": _HELLO, "more_body": True})
            ends: list[asyncio.Task[Any]] = [
                asyncio.create_task(_gone(receive), name="viewer-gone"),
                asyncio.create_task(self._stopping.wait(), name="viewer-stop"),
                asyncio.create_task(self._tell(send), name="viewer-tell"),
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
            await self._close()

    async def _tell(self, send: Send) -> None:
        """Send what comes; open the log again whenever the reader has caught up with what was let go."""
        while True:
            pump = asyncio.create_task(self._pump(), name="viewer-pump")
            pump.add_done_callback(lambda _: self._wake.set())
            try:
                await self._drain(send, pump)
            finally:
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)
            if self._over:
                return
            try:
                if not pump.cancelled():
                    pump.result()
                await self.open()
            except (BusError, ApiError) as exc:
                _log.warning("an event stream ends early", session=self._key.session, cause=str(exc))
                return

    async def _drain(self, send: Send, pump: asyncio.Task[None]) -> None:
        """Send what is queued, until the pump has ended and nothing is left."""
        while True:
            if not self._queue:
                if self._over or pump.done():
                    return
                self._wake.clear()
                try:
                    async with asyncio.timeout(PING):
                        await self._wake.wait()
                except TimeoutError:
                    await send({"type": "http.response.body", "body": _PING, "more_body": True})
                continue
            items, self._queue, self._queued = self._queue, deque(), 0
            if any(isinstance(item, Shown) for item in items):
                self._ledger.unseen.seen(self._key)
            await send({"type": "http.response.body", "body": _frames(items), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _characters(found: Iterable[Delta | Output]) -> int:
    return sum(len(one.text) for one in found)


def _frames(items: Iterable[Shown | Delta]) -> bytes:
    parts: list[bytes] = []
    held: list[Delta] = []

    def tell_held() -> None:
        for delta in merged(held):
            body = preview_object(delta)
            parts.append(frame(body["type"], body))
        held.clear()

    for item in items:
        if isinstance(item, Delta):
            held.append(item)
        else:
            tell_held()
            parts.append(frame(item.type, event_object(item.event, item.at), item.position))
    tell_held()
    return b"".join(parts)
