"""Reading the log of sessions over NATS: from any replica of the stream, or from its leader."""

from collections.abc import AsyncGenerator

from holdfast.bus import codec, streams, subjects
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry

PAGE_COMMITS = 500
"""Commits in one batched read. The server itself limits the bytes in flight."""


class LogReads:
    """`head`, `read`, `pages` and `get` of `api.Log` over NATS."""

    def __init__(self, client: JetStreamClient, blobs: Blobs) -> None:
        self._client = client
        self._blobs = blobs

    async def leader_last(self, key: Key) -> RawMessage | None:
        """The last message of the log as the leader has it, undecoded."""
        return await self._client.leader(streams.log_stream(key.cell), {"last_by_subj": subjects.log(key)})

    async def head(self, key: Key, *, leader: bool = False) -> Stored | None:
        """See `api.Log.head`."""

        async def look() -> RawMessage | None:
            if leader:
                return await self.leader_last(key)
            return await self._client.direct(streams.log_stream(key.cell), subjects.log(key))

        got = await retry(self._client, look)
        return Stored(got.seq, codec.decode_commit(got.data)) if got else None

    async def read(self, key: Key, after: int = 0, *, leader: bool = False) -> list[Stored]:
        """See `api.Log.read`. With `leader` it ends with the last commit of the leader; replicas serve the rest."""
        end = 0
        if leader:
            last = await retry(self._client, self.leader_last, key)
            end = last.seq if last else 0
            if end <= after:
                return []
            if last and int(last.headers.get("Nats-Expected-Last-Subject-Sequence", "-1")) == after:
                return [await self.stored(last)]
        found = [stored async for page in self.pages(key, after) for stored in page]
        at = found[-1].seq if found else after
        while at < end:  # the replicas lag behind the leader
            query = {"seq": at + 1, "next_by_subj": subjects.log(key)}
            got = await retry(self._client, self._client.leader, streams.log_stream(key.cell), query)
            if got is None:
                break
            found.append(await self.stored(got))
            at = got.seq
        return found

    async def pages(self, key: Key, after: int = 0) -> AsyncGenerator[list[Stored]]:
        """See `api.Log.pages`."""
        at = after
        while True:
            got, left = await retry(
                self._client,
                self._client.batch,
                streams.log_stream(key.cell),
                subjects.log(key),
                seq=at + 1,
                limit=PAGE_COMMITS,
            )
            if got:
                at = got[-1].seq
                yield [await self.stored(one) for one in got]
            if not got or not left:
                return

    async def get(self, key: Key, seq: int) -> Stored | None:
        """See `api.Log.get`."""
        stream = streams.log_stream(key.cell)
        got = await retry(self._client, self._client.direct_seq, stream, seq)
        if got is None:  # a replica may lag behind the leader
            got = await retry(self._client, self._client.leader, stream, {"seq": seq})
        if got is None or got.subject != subjects.log(key):
            return None
        return await self.stored(got)

    async def stored(self, got: RawMessage) -> Stored:
        """Decode a message of the log and put its blobs back. Raises Newer, Damaged, Unavailable."""
        commit = codec.decode_commit(got.data)
        blobs = codec.blob_refs(commit)
        if blobs:
            cell = subjects.key_of(got.subject).cell
            commit = codec.put_back(commit, await self._blobs.get_all(cell, [(b.ref, b.size) for b in blobs]))
        return Stored(got.seq, commit)
