"""`api.Log` in memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from holdfast.bus import codec, subjects
from holdfast.bus.api import ignore_newer
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.errors import Newer
from holdfast.bus.ids import Key
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.records import Record

IDLE_NOTICE_S = 5.0
"""Seconds without a commit after which `tail` yields None and `follow` an empty batch."""

PAGE_COMMITS = 500
"""Commits in one page or batch."""


class MemoryLog:
    """`api.Log` in memory."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self._server = link.server

    async def append(self, key: Key, commit: Commit, expect: int) -> int:
        """See `api.Log.append`."""
        data, bodies = codec.encode_commit(commit)
        for body in bodies:
            await self._link.pause("blob")
            self._server.blobs[key, body.ref] = body.data
        return await self._link.effect("append", lambda: self._server.append(key, data, commit.id, expect))

    def _visible(self, key: Key, operation: str, *, leader: bool) -> list[Record]:
        until = float("inf") if leader else self._link.replica_time(operation)
        return [record for record in self._server.commits(key) if record.stored_at <= until]

    async def head(self, key: Key, *, leader: bool = False) -> Stored | None:
        """See `api.Log.head`."""
        await self._link.pause("head")
        visible = self._visible(key, "head", leader=leader)
        await self._link.pause("head:answer")
        return Stored(visible[-1].seq, codec.decode_commit(visible[-1].data)) if visible else None

    async def read(self, key: Key, after: int = 0, *, leader: bool = False) -> list[Stored]:
        """See `api.Log.read`."""
        await self._link.pause("read")
        found = [self._stored(r) for r in self._visible(key, "read", leader=leader) if r.seq > after]
        await self._link.pause("read:answer")
        return found

    async def pages(self, key: Key, after: int = 0, *, first: int = PAGE_COMMITS) -> AsyncGenerator[list[Stored]]:
        """See `api.Log.pages`."""
        found, size = await self.read(key, after), min(first, PAGE_COMMITS)
        while found:
            yield found[:size]
            found, size = found[size:], min(size * 2, PAGE_COMMITS)

    async def get(self, key: Key, seq: int) -> Stored | None:
        """See `api.Log.get`."""
        await self._link.pause("get")
        record = next((r for r in self._server.commits(key) if r.seq == seq), None)
        await self._link.pause("get:answer")
        return self._stored(record) if record else None

    def _stored(self, record: Record) -> Stored:
        commit = codec.decode_commit(record.data)
        blobs = codec.blob_refs(commit)
        if blobs:
            commit = codec.put_back(commit, {b.ref: self._server.blob(record.key, b.ref) for b in blobs})
        return Stored(record.seq, commit)

    async def erase(self, key: Key, below: int) -> int:
        """See `api.Log.erase`."""
        return await self._link.effect("erase", lambda: self._server.erase_log(key, below))

    async def tail(self, key: Key, after: int | None = None) -> AsyncGenerator[Stored | None]:
        """See `api.Log.tail`."""
        news: asyncio.Queue[int] = asyncio.Queue()
        subscription = self._link.listen(subjects.live(key), lambda message: news.put_nowait(message.seq))
        try:
            await self._link.pause("tail")
            commits = self._server.commits(key)
            at = after if after is not None else (commits[-1].seq if commits else 0)
            yield None
            while True:
                for record in [r for r in self._server.commits(key) if r.seq > at]:
                    yield self._stored(record)
                    at = record.seq
                if not await _news_within(IDLE_NOTICE_S, news):
                    yield None
                await self._link.pause("tail:heard")
        finally:
            await subscription.close()

    async def follow(
        self, cell: str, after: int = 0, *, on_newer: Callable[[Key, int], None] = ignore_newer
    ) -> AsyncGenerator[list[tuple[Key, Stored]]]:
        """See `api.Log.follow`."""
        news: asyncio.Queue[int] = asyncio.Queue()
        subscription = self._link.listen(subjects.all_live(cell), lambda message: news.put_nowait(message.seq))
        at, caught_up = after, True
        try:
            while True:
                await self._link.pause("follow")
                found = [r for r in self._server.log if r.seq > at and r.key.cell == cell]
                for start in range(0, len(found), PAGE_COMMITS):
                    page = found[start : start + PAGE_COMMITS]
                    if decoded := _decoded(page, on_newer):
                        yield decoded
                    at = page[-1].seq
                if caught_up:
                    yield []
                caught_up = not await _news_within(IDLE_NOTICE_S, news)
        finally:
            await subscription.close()


def _decoded(page: list[Record], on_newer: Callable[[Key, int], None]) -> list[tuple[Key, Stored]]:
    found: list[tuple[Key, Stored]] = []
    for record in page:
        try:
            found.append((record.key, Stored(record.seq, codec.decode_commit(record.data))))
        except Newer:
            on_newer(record.key, record.seq)
    return found


async def _news_within(seconds: float, news: "asyncio.Queue[int]") -> bool:
    try:
        async with asyncio.timeout(seconds):
            await news.get()
    except TimeoutError:
        return False
    return True
