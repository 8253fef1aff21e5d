"""Reading the log of sessions over NATS: from any replica of the stream, or from its leader."""

from collections.abc import AsyncGenerator

from holdfast.bus import codec, streams, subjects
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry
from holdfast.bus.outline import CommitOutline, decode_outline
from holdfast.bus.traceparent import traceparent_of

PAGE_COMMITS = 500
"""Commits in one batched read."""

PAGE_BYTES = 1024 * 1024
"""Bytes of messages above which a batched read ends, and of the bodies put back above which a page ends."""


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
        return [stored async for page in self.pages(key, after, upto=end) for stored in page]

    async def pages(
        self, key: Key, after: int = 0, *, first: int = PAGE_COMMITS, upto: int = 0, page_bytes: int = PAGE_BYTES
    ) -> AsyncGenerator[list[Stored]]:
        """See `api.Log.pages`. What the replicas lack up to sequence `upto` is read from the leader.

        A page has at most `page_bytes`, or one commit.
        """
        stream, subject = streams.log_stream(key.cell), subjects.log(key)
        at, limit, left = after, min(first, PAGE_COMMITS), 1
        while left:
            got, left = await retry(
                self._client, self._client.batch, stream, subject, seq=at + 1, limit=limit, max_bytes=page_bytes
            )
            if not got:
                break
            at, limit = got[-1].seq, min(limit * 2, PAGE_COMMITS)
            page: list[Stored] = []
            page_size = 0
            for one in got:
                commit = codec.decode_commit(one.data)
                size = sum(blob.size for blob in codec.blob_refs(commit))
                if page and size and page_size + size > page_bytes:
                    yield page
                    page, page_size = [], 0
                page.append(Stored(one.seq, await self._put_back(key, commit)))
                page_size += size
            yield page
        while at < upto:  # the replicas lag behind the leader
            one = await retry(self._client, self._client.leader, stream, {"seq": at + 1, "next_by_subj": subject})
            if one is None:
                break
            yield [await self.stored(one)]
            at = one.seq

    async def outlines(self, key: Key) -> list[CommitOutline]:
        """All commits of a session without what was said in it; large bodies are not read. Raises Newer, Damaged."""
        stream, subject = streams.log_stream(key.cell), subjects.log(key)
        found: list[CommitOutline] = []
        at, left = 0, 1
        while left:
            got, left = await retry(
                self._client, self._client.batch, stream, subject, seq=at + 1, limit=PAGE_COMMITS, max_bytes=PAGE_BYTES
            )
            if not got:
                break
            at = got[-1].seq
            found += [decode_outline(one.data) for one in got]
        return found

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
        key = subjects.key_of(got.subject)
        return Stored(got.seq, await self._put_back(key, commit), traceparent_of(got.headers))

    async def _put_back(self, key: Key, commit: Commit) -> Commit:
        blobs = codec.blob_refs(commit)
        if not blobs:
            return commit
        return codec.put_back(commit, await self._blobs.get_all(key, [(b.ref, b.size) for b in blobs]))
