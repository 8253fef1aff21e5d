"""The log of sessions over NATS: appends that are never in doubt, reads, and tails without gap."""

import asyncio
from collections.abc import AsyncIterator

from services.bus import codec, streams, subjects
from services.bus.commits import Commit, Stored
from services.bus.errors import Conflict, Unavailable
from services.bus.ids import Key
from services.bus.nats_blobs import Blobs
from services.bus.nats_link import Got, Link, Moved
from services.bus.nats_retry import Pauses, patiently

APPEND_WITHIN = 30.0
"""Seconds in which an append must be resolved: stored, refused, or Unavailable."""

PAGE = 500
"""Commits asked for at once; a message limit, since the server bounds the bytes in flight."""

SILENCE = 5.0
"""Seconds without a live message after which a tail looks at the log again."""


class NatsLog:
    """`api.Log` over NATS."""

    def __init__(self, link: Link, blobs: Blobs) -> None:
        self._link = link
        self._blobs = blobs

    # --- append ----------------------------------------------------------------------------------------------------

    async def append(self, key: Key, commit: Commit, expect: int) -> int:
        """See `api.Log.append`. One round trip when nothing goes wrong."""
        data, bodies = codec.encode_commit(commit)
        for body in bodies:
            await self._blobs.put(body)
        subject = subjects.log(key)
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expect)}
        pauses: Pauses | None = None
        while True:
            try:
                return await self._link.store(subject, data, dict(headers))
            except Moved:
                why = Unavailable("the log refused the append, yet stands where it was expected")
            except Unavailable as exc:
                why = exc
            pauses = pauses or Pauses(self._link, APPEND_WITHIN)
            try:
                seq = await self._fate(key, commit.id, expect)
            except Unavailable as exc:
                why = exc
            else:
                if seq:
                    return seq
            await pauses.wait(why)

    async def _fate(self, key: Key, commit_id: str, expect: int) -> int:
        """The sequence of our commit if the leader has it, 0 if the log still stands at `expect`; else Conflict."""
        last = await self._leader_last(key)
        at = last.seq if last else 0
        if last and codec.commit_id(last.data) == commit_id:
            return at
        if at == expect:
            return 0
        seq = expect + 1
        while seq < at:
            got = await self._link.leader(streams.log_stream(key.cell), {"seq": seq, "next_by_subj": subjects.log(key)})
            if got is None:
                break
            if codec.commit_id(got.data) == commit_id:
                return got.seq
            seq = got.seq + 1
        raise Conflict(expected=expect, actual=at)

    async def _leader_last(self, key: Key) -> Got | None:
        return await self._link.leader(streams.log_stream(key.cell), {"last_by_subj": subjects.log(key)})

    # --- read ------------------------------------------------------------------------------------------------------

    async def head(self, key: Key, *, leader: bool = False) -> Stored | None:
        """See `api.Log.head`."""

        async def look() -> Got | None:
            if leader:
                return await self._leader_last(key)
            return await self._link.direct(streams.log_stream(key.cell), subjects.log(key))

        got = await patiently(self._link, look)
        return Stored(got.seq, codec.decode_commit(got.data)) if got else None

    async def read(self, key: Key, after: int = 0, *, leader: bool = False) -> list[Stored]:
        """See `api.Log.read`. With `leader` it reaches what the leader has now, though most is read from any replica."""
        end = 0
        if leader:
            last = await patiently(self._link, lambda: self._leader_last(key))
            end = last.seq if last else 0
            if end <= after:
                return []
            if last and int(last.headers.get("Nats-Expected-Last-Subject-Sequence", "-1")) == after:
                return [await self._stored(last)]
        found = [stored async for page in self.pages(key, after) for stored in page]
        at = found[-1].seq if found else after
        while at < end:  # the replicas lag behind the leader
            query = {"seq": at + 1, "next_by_subj": subjects.log(key)}
            got = await patiently(self._link, lambda q=query: self._link.leader(streams.log_stream(key.cell), q))
            if got is None:
                break
            found.append(await self._stored(got))
            at = got.seq
        return found

    async def pages(self, key: Key, after: int = 0) -> AsyncIterator[list[Stored]]:
        """See `api.Log.pages`."""
        at = after
        while True:
            start = at + 1
            got, left = await patiently(
                self._link,
                lambda s=start: self._link.batch(streams.log_stream(key.cell), subjects.log(key), seq=s, limit=PAGE),
            )
            if got:
                at = got[-1].seq
                yield [await self._stored(one) for one in got]
            if not got or not left:
                return

    async def get(self, key: Key, seq: int) -> Stored | None:
        """See `api.Log.get`."""
        stream = streams.log_stream(key.cell)
        got = await patiently(self._link, lambda: self._link.direct_seq(stream, seq))
        if got is None:  # a replica may lag behind the leader
            got = await patiently(self._link, lambda: self._link.leader(stream, {"seq": seq}))
        if got is None or got.subject != subjects.log(key):
            return None
        return await self._stored(got)

    async def _stored(self, got: Got) -> Stored:
        commit = codec.decode_commit(got.data)
        blobs = codec.blob_refs(commit)
        if blobs:
            commit = codec.put_back(commit, await self._blobs.get_all([(b.ref, b.size) for b in blobs]))
        return Stored(got.seq, commit)

    # --- tail ------------------------------------------------------------------------------------------------------

    async def tail(self, key: Key, after: int | None = None) -> AsyncIterator[Stored | None]:
        """See `api.Log.tail`. Live messages only say that there is something; their place in the log is checked."""
        live: asyncio.Queue[Got | None] = asyncio.Queue()

        async def hear(got: Got) -> None:
            live.put_nowait(got)

        def back() -> None:
            live.put_nowait(None)

        listening = await patiently(self._link, lambda: self._link.listen(subjects.live(key), hear))
        self._link.on_back.add(back)
        try:
            if after is None:
                last = await patiently(self._link, lambda: self._leader_last(key))
                at = last.seq if last else 0
            else:
                at = after
                await patiently(self._link, self._link.flush)
            yield None
            if after is not None:
                async for page in self.pages(key, at):
                    for stored in page:
                        yield stored
                        at = stored.seq
            while True:
                silent = False
                try:
                    async with asyncio.timeout(SILENCE):
                        got = await live.get()
                except TimeoutError:
                    got, silent = None, True
                if got and got.seq <= at:
                    continue
                if got and int(got.headers.get("Nats-Last-Sequence", "-1")) == at:
                    yield await self._stored(got)
                    at = got.seq
                    continue
                async for stored in self._unheard(key, at):
                    yield stored
                    at = stored.seq
                if silent:
                    yield None
        finally:
            self._link.on_back.discard(back)
            await listening.close()

    async def _unheard(self, key: Key, at: int) -> AsyncIterator[Stored]:
        """What the leader has above `at` though nothing was heard. One request when there is nothing."""
        try:
            last = await self._leader_last(key)
        except Unavailable:
            return  # the server is away; the next silence looks again
        if last is not None and last.seq > at:
            for stored in await self.read(key, at, leader=True):
                yield stored
