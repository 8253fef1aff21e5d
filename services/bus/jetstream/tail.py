"""Reading the log as it grows, without gap or repetition.

A live message is yielded if it is the next of the log; otherwise the log is read. The server republishes a message
after it has stored it, so a live message is always stored.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager

import structlog

from holdfast.bus import codec, streams, subjects
from holdfast.bus.api import ignore_newer
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Damaged, Newer, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.log_reads import LogReads
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.traceparent import traceparent_of
from holdfast.process import failures

log = structlog.get_logger()

IDLE_TIMEOUT_S = 5.0
"""Seconds without a live message after which the log is read."""

PAGE_COMMITS = 500
"""Commits in one batched read of all sessions."""

PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of messages above which it ends."""

REPLAY_PAGE_BYTES = 256 * 1024
"""Bytes of a page of `tail`: what a reader who stalls keeps in memory."""

SESSION_LIVE_BYTES = 256 * 1024
CELL_LIVE_BYTES = 8 * 1024 * 1024
"""Bytes of live messages that wait for a slow reader of one session, and of all; above them they are read again."""


class Live:
    """Live messages that wait to be taken; None means that some may have been missed. Bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._queue: asyncio.Queue[RawMessage | None] = asyncio.Queue()
        self._bytes = 0
        self._max_bytes = max_bytes

    def put(self, got: RawMessage) -> None:
        """Add a message. If too many bytes wait, drop all of them: the reader will find them in the log."""
        if self._bytes and self._bytes + len(got.data) > self._max_bytes:
            while not self._queue.empty():
                self._queue.get_nowait()
            self._bytes = 0
            self.put_gap()
        self._queue.put_nowait(got)
        self._bytes += len(got.data)

    def put_gap(self) -> None:
        """Messages may have been missed."""
        self._queue.put_nowait(None)

    @property
    def empty(self) -> bool:
        return self._queue.empty()

    async def next(self) -> tuple[RawMessage | None, bool]:
        """The next message, or None if some may have been missed; and True if the idle timeout passed."""
        try:
            got = self._queue.get_nowait()
        except asyncio.QueueEmpty:
            try:
                async with asyncio.timeout(IDLE_TIMEOUT_S):
                    got = await self._queue.get()
            except TimeoutError:
                return None, True
        if got is not None:
            self._bytes -= len(got.data)
        return got, False


class LogTail:
    """`tail` and `follow` of `api.Log` over NATS."""

    def __init__(self, client: JetStreamClient, reads: LogReads) -> None:
        self._client = client
        self._reads = reads

    @asynccontextmanager
    async def _listening(self, subject: str, max_bytes: int) -> AsyncGenerator[Live]:
        live = Live(max_bytes)

        async def receive(got: RawMessage) -> None:  # not `hear`: an event would overtake the deltas before it
            live.put(got)

        listening = await retry(self._client, self._client.listen, subject, receive)
        with self._told_of_reconnections(live):
            try:
                await retry(self._client, self._client.flush)
                yield live
            finally:
                await listening.close()

    @contextmanager
    def _told_of_reconnections(self, live: Live) -> Generator[None]:
        """Put a gap into `live` after each reconnection, since messages may have been missed."""
        self._client.on_reconnect.add(live.put_gap)
        try:
            yield
        finally:
            self._client.on_reconnect.discard(live.put_gap)

    # --- one session -----------------------------------------------------------------------------------------------

    async def tail(self, key: Key, after: int | None = None) -> AsyncGenerator[Stored | None]:
        """See `api.Log.tail`."""
        async with self._listening(subjects.live(key), SESSION_LIVE_BYTES) as live:
            at = after
            if at is None:
                last = await retry(self._client, self._reads.leader_last, key)
                at = last.seq if last else 0
            yield None
            if after is not None:
                async with aclosing(self._reads.pages(key, at, page_bytes=REPLAY_PAGE_BYTES)) as pages:
                    async for page in pages:
                        for stored in page:
                            yield stored
                            at = stored.seq
            while True:
                got, silent = await live.next()
                if got and got.seq <= at:
                    continue
                if got and int(got.headers.get("Nats-Last-Sequence", "-1")) == at:
                    yield await self._reads.stored(got)
                    at = got.seq
                    continue
                before = at
                async with aclosing(self._missed(key, at)) as missed:
                    async for stored in missed:
                        yield stored
                        at = stored.seq
                _note_lost(key, at - before, got, silent=silent)
                if silent:
                    yield None

    async def _missed(self, key: Key, at: int) -> AsyncGenerator[Stored]:
        """Commits above `at` whose live messages were missed. Costs one request if there are none."""
        try:
            last = await self._reads.leader_last(key)
        except Unavailable:
            return  # no connection: the next reconnection or idle timeout reads again
        if last is None or last.seq <= at:
            return
        if int(last.headers.get("Nats-Expected-Last-Subject-Sequence", "-1")) == at:
            yield await self._reads.stored(last)
            return
        async with aclosing(self._reads.pages(key, at, upto=last.seq, page_bytes=REPLAY_PAGE_BYTES)) as pages:
            async for page in pages:
                for stored in page:
                    yield stored

    # --- all sessions of a cell ------------------------------------------------------------------------------------

    async def follow(
        self, cell: str, after: int = 0, *, on_newer: Callable[[Key, int], None] = ignore_newer
    ) -> AsyncGenerator[list[tuple[Key, Stored]]]:
        """See `api.Log.follow`. Live messages have no gaps. What is read again may have some: erased commits."""
        stream, at = streams.log_stream(cell), after
        async with self._listening(subjects.all_live(cell), CELL_LIVE_BYTES) as live:
            while True:
                try:
                    async for got in self._stream_from(cell, at):
                        at = got[-1].seq
                        if decoded := _decoded(got, on_newer):
                            yield decoded
                    yield []
                except Unavailable:
                    pass  # the next reconnection or idle timeout reads again
                missed = False
                while not missed:
                    heard, at, missed = await _contiguous(live, stream, at)
                    if decoded := _decoded(heard, on_newer):
                        yield decoded

    async def _stream_from(self, cell: str, at: int) -> AsyncGenerator[list[RawMessage]]:
        """All messages stored above `at`. Raises Unavailable."""
        stream, left = streams.log_stream(cell), 1
        while left:
            start = at + 1
            got, left = await self._client.batch(
                stream, subjects.all_logs(cell), seq=start, limit=PAGE_COMMITS, max_bytes=PAGE_BYTES
            )
            if not got:
                return
            at = got[-1].seq
            yield got


async def _contiguous(live: Live, stream: str, at: int) -> tuple[list[RawMessage], int, bool]:
    """The live messages that follow `at` without a gap, the sequence of the last, and True if a gap follows."""
    found: list[RawMessage] = []
    got, _ = await live.next()
    while got is not None:
        ours = got.headers.get("Nats-Stream") == stream
        if ours and got.seq > at + 1:
            log.info("log.live_message_lost", after=at, next=got.seq, failure=failures.message_lost("live"))
            return found, at, True
        if ours and got.seq == at + 1:
            found.append(got)
            at = got.seq
        if live.empty or len(found) >= PAGE_COMMITS:
            return found, at, False
        got, _ = await live.next()
    return found, at, True


def _note_lost(key: Key, read: int, got: RawMessage | None, *, silent: bool) -> None:
    """Count it if commits had to be read that were not heard, unless a reconnection or a slow reader explains it."""
    if read and (got or silent):
        log.info("log.live_message_lost", session=key.session, failure=failures.message_lost("live"))


def _decoded(got: list[RawMessage], on_newer: Callable[[Key, int], None]) -> list[tuple[Key, Stored]]:
    found: list[tuple[Key, Stored]] = []
    for one in got:
        try:
            key = subjects.key_of(one.headers.get("Nats-Subject", one.subject))
        except ValueError as exc:
            log.warning("log.unreadable", seq=one.seq, error=str(exc))
            continue
        try:
            found.append((key, Stored(one.seq, codec.decode_commit(one.data), traceparent_of(one.headers))))
        except Newer:
            on_newer(key, one.seq)
        except Damaged as exc:
            log.warning("log.unreadable", seq=one.seq, error=str(exc))
    return found
