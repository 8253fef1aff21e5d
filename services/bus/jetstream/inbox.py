"""The inbox of sessions over NATS: putting inputs and looking at what waits. Deliveries are in `nats_consume`."""

import hashlib
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from holdfast.bus import codec, streams, subjects
from holdfast.bus.api import PendingInput, Subscription
from holdfast.bus.codec import BlobInput
from holdfast.bus.errors import Absent, NoResponders, Refused, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.inputs import AnyInput
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.object_store import Blobs
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import patiently, within

log = structlog.get_logger()

PUT_WITHIN = 20.0
"""Seconds a publisher tries: well within DEDUPE, so that a repeated input is never stored twice (rule 19)."""

PAGE = 500
"""Inbox messages asked for at once."""


class NatsInbox:
    """`api.Inbox` over NATS, without `consume`."""

    def __init__(self, link: JetStreamClient, blobs: Blobs) -> None:
        self._link = link
        self._blobs = blobs
        self._incarnations: dict[str, str] = {}
        link.on_back.add(self.forget)

    def forget(self) -> None:
        """The stream may be another one now: look at its name again."""
        self._incarnations.clear()

    async def put_input(self, key: Key, value: AnyInput) -> int:
        """See `api.Inbox.put_input`."""
        data, body = codec.encode_input(value)
        if body:
            await self._blobs.put(body)
        headers = {"Nats-Msg-Id": value.id}
        return await within(self._link, PUT_WITHIN, self._link.store, subjects.inbox(key), data, headers)

    async def incarnation(self, cell: str) -> str:
        """See `api.Inbox.incarnation`: the time the stream was made. Kept until the connection or a pull is lost."""
        if cell not in self._incarnations:
            self._incarnations[cell] = await patiently(self._link, self._created, cell)
        return self._incarnations[cell]

    async def _created(self, cell: str) -> str:
        try:
            answer = await self._link.api(f"STREAM.INFO.{streams.inbox_stream(cell)}")
        except NoResponders:
            raise Unavailable("JetStream does not answer") from None
        if "error" in answer:
            raise Unavailable(f"no inbox stream: {answer['error'].get('description')}")
        return hashlib.sha256(str(answer["created"]).encode()).hexdigest()[:12]

    async def waiting(self, key: Key, above: int, *, upto: int = 0) -> list[PendingInput]:
        """See `api.Inbox.waiting`."""
        stream, subject = streams.inbox_stream(key.cell), subjects.inbox(key)
        found: list[RawMessage] = []
        at, left = above, 1
        while left:
            got, left = await patiently(self._link, self._link.batch, stream, subject, seq=at + 1, limit=PAGE)
            found += got
            if not got:
                break
            at = got[-1].seq
        while at < upto:  # a replica may lag behind the leader
            query = {"seq": at + 1, "next_by_subj": subject}
            one = await patiently(self._link, self._link.leader, stream, query)
            if one is None:
                break
            found.append(one)
            at = one.seq
        return [await self.decoded(one.seq, one.data) for one in found]

    async def decoded(self, seq: int, data: bytes) -> PendingInput:
        """Decode an inbox message and fetch its body if that lies elsewhere. Raises Unavailable when it cannot tell."""
        try:
            value = codec.decode_input(data)
            if isinstance(value, BlobInput):
                data = await self._blobs.get(value.ref, value.size)
                value = codec.decode_input(data)
        except (Refused, Absent) as exc:
            log.warning("inbox.unreadable", seq=seq, error=str(exc))
            return PendingInput(seq, data, None)
        return PendingInput(seq, data, None if isinstance(value, BlobInput) else value)

    async def on_arrival(self, key: Key, listener: Callable[[PendingInput], None]) -> Subscription:
        """See `api.Inbox.on_arrival`."""

        async def arrived(got: RawMessage) -> None:
            heard = await self.decoded(got.seq, got.data)
            listener(replace(heard, previous=int(got.headers.get("Nats-Last-Sequence", "-1"))))

        return await patiently(self._link, self._link.listen, subjects.arrived(key), arrived)
