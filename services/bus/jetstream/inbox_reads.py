"""Reading the inbox of sessions over NATS."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from holdfast.bus import codec, streams, subjects
from holdfast.bus.codec import BlobInput
from holdfast.bus.errors import Damaged, Newer, NoResponders, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.inputs import NOTHING_TAKEN, PendingInput, Taken
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry

log = structlog.get_logger()

PAGE_INPUTS = 500
"""Inbox messages in one batched read."""

PAGE_BYTES = 1024 * 1024
"""Bytes of inbox messages after which a batched read ends."""


class InboxReads:
    """`stream_epoch` and `pending` of `api.Inbox` over NATS."""

    def __init__(self, client: JetStreamClient, blobs: Blobs) -> None:
        self._client = client
        self._blobs = blobs
        self._epochs: dict[str, str] = {}
        client.on_reconnect.add(self.forget)

    def forget(self) -> None:
        """The stream may have been replaced: read its epoch again."""
        self._epochs.clear()

    async def stream_epoch(self, cell: str) -> str:
        """See `api.Inbox.stream_epoch`: a hash of the time the stream was created.

        Cached until the connection or a pull is lost.
        """
        if cell not in self._epochs:
            self._epochs[cell] = await retry(self._client, self._created, cell)
        return self._epochs[cell]

    async def _created(self, cell: str) -> str:
        try:
            answer = await self._client.api(f"STREAM.INFO.{streams.inbox_stream(cell)}")
        except NoResponders:
            raise Unavailable("JetStream does not answer") from None
        if "error" in answer:
            raise Unavailable(f"no inbox stream: {answer['error'].get('description')}")
        return hashlib.sha256(str(answer["created"]).encode()).hexdigest()[:12]

    async def pending(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> list[PendingInput]:
        """See `api.Inbox.pending`."""
        return [one async for one in self.waiting(key, above, upto=upto)]

    async def waiting(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> AsyncGenerator[PendingInput]:
        """See `api.Inbox.waiting`."""
        async with aclosing(self._stored(key, above, upto)) as messages:
            async for one in messages:
                yield await self.decoded(one)

    async def undecoded(self, key: Key, above: Taken, *, upto: int) -> AsyncGenerator[PendingInput]:
        """See `api.Inbox.undecoded`."""
        async with aclosing(self._stored(key, above, upto)) as messages:
            async for one in messages:
                yield PendingInput(one.seq, one.data, None, subjects.source_of(one.subject))

    async def _stored(self, key: Key, above: Taken, upto: int) -> AsyncGenerator[RawMessage]:
        """One read serves both sources, so that what it finds is a prefix of the stream. Holds one page at a time."""
        stream, subject = streams.inbox_stream(key.cell), subjects.inbox_all(key)
        at, left = min(above.inputs, above.results), 1
        while left:
            page, left = await retry(
                self._client, self._client.batch, stream, subject, seq=at + 1, limit=PAGE_INPUTS, max_bytes=PAGE_BYTES
            )
            if not page:
                break
            at = page[-1].seq
            for one in page:
                if one.seq > above.of(subjects.source_of(one.subject)):
                    yield one
        while at < upto:  # a replica may lag behind the leader
            query = {"seq": at + 1, "next_by_subj": subject}
            found = await retry(self._client, self._client.leader, stream, query)
            if found is None:
                break
            at = found.seq
            if at > above.of(subjects.source_of(found.subject)):
                yield found

    async def decoded(self, message: RawMessage) -> PendingInput:
        """Decode an inbox message, with its body from the object store if it has one. Raises Unavailable."""
        seq, data, source = message.seq, message.data, subjects.source_of(message.subject)
        try:
            value = codec.decode_input(data)
            if isinstance(value, BlobInput):
                data = await self._blobs.get(subjects.key_of(message.subject).cell, value.ref, value.size)
                value = codec.decode_input(data)
        except Newer:
            return PendingInput(seq, data, None, source, newer=True)
        except Damaged as exc:
            log.warning("inbox.unreadable", seq=seq, error=str(exc))
            return PendingInput(seq, data, None, source)
        return codec.pending_input(seq, source, data, None if isinstance(value, BlobInput) else value)
