"""The inbox of sessions over NATS."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec.structs import replace

from holdfast.bus import codec, streams, subjects, trace
from holdfast.bus.api import Delivery, Subscription
from holdfast.bus.errors import Unanswered
from holdfast.bus.ids import Key
from holdfast.bus.inputs import AnyInput, PendingInput, source_for
from holdfast.bus.jetstream.connection import Listening, RawMessage
from holdfast.bus.jetstream.consumer import Consumer, StreamDelivery, redeliver
from holdfast.bus.jetstream.erase import erase_all
from holdfast.bus.jetstream.inbox_delivery import NatsDelivery, is_inbox
from holdfast.bus.jetstream.inbox_reads import InboxReads
from holdfast.bus.jetstream.passing_on import PassedOn, listen, pass_on
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry, retry_until
from holdfast.process import failures, metering, metrics

log = structlog.get_logger()

_PUT: Final = {
    metrics.SYSTEM: "nats", metrics.MESSAGING_OPERATION: "put", metrics.DESTINATION: "in.{cell}.{tenant}.{session}"
}  # fmt: skip

PUT_TIMEOUT_S = 20.0
"""Seconds for which a put is retried: far below DEDUPLICATION_WINDOW_S, so no input is stored twice (rule 19)."""


class NatsInbox(InboxReads):
    """`api.Inbox` over NATS."""

    async def put(self, key: Key, value: AnyInput) -> int:
        """See `api.Inbox.put`."""
        data, body = codec.encode_input(value)
        if body:
            await self._blobs.put(key, body)
        began_at = time.perf_counter()
        seq = await retry_until(
            self._client, PUT_TIMEOUT_S, self._put, subjects.inbox(key, source_for(value)), data, value.id
        )
        metering.record(metrics.BUS_DURATION, time.perf_counter() - began_at, _PUT)
        return seq

    async def _put(self, subject: str, data: bytes, publish_id: str) -> int:
        try:
            return await self._client.store(subject, data, {"Nats-Msg-Id": publish_id})
        except Unanswered as exc:
            log.info("inbox.put_unanswered", cause=str(exc), failure=failures.message_lost("put"))
            raise

    async def put_again(self, key: Key, data: bytes, publish_id: str) -> int:
        """See `api.Inbox.put_again`."""
        headers = {"Nats-Msg-Id": publish_id}
        subject = subjects.inbox(key, "in")
        return await retry_until(self._client, PUT_TIMEOUT_S, self._client.store, subject, data, headers)

    async def erase(self, key: Key) -> int:
        """See `api.Inbox.erase`."""
        return await erase_all(self._client, streams.inbox_stream(key.cell), subjects.inbox_all(key))

    async def consume(
        self,
        cell: str,
        handle: Callable[[Delivery], Awaitable[None]],
        stop: asyncio.Event,
        *,
        limit: int,
        name: str = "",
    ) -> None:
        """See `api.Inbox.consume`."""

        async def deliver(delivery: StreamDelivery) -> None:
            inbox_delivery = await NatsDelivery.of(delivery)
            if inbox_delivery is not None:
                await handle(inbox_delivery)

        def take_over(message: RawMessage, load: int) -> bool:
            return is_inbox(message.subject) and consumer.take_over(message, load)

        stream, durable = streams.inbox_stream(cell), streams.HARNESS_CONSUMER
        consumer = Consumer(self._client, stream, durable, deliver, limit, on_break=self.forget, log_field="session")
        if not name:
            await consumer.run(stop)
            return
        taking = await retry(self._client, listen, self._client, cell, name, take_over)
        try:
            await consumer.run(stop)
        finally:
            await taking.close()

    async def pass_on(self, delivery: Delivery, to: str, *, load: int) -> bool:
        """See `api.Inbox.pass_on`."""
        assert isinstance(delivery, NatsDelivery)
        headers = trace.inject_link({})
        passed = PassedOn(delivery.subject, delivery.reply, load, headers)
        return await pass_on(self._client, delivery.key.cell, to, passed)

    async def redeliver(self, cell: str, seq: int, number: int) -> None:
        """See `api.Inbox.redeliver`."""
        await redeliver(self._client, cell, seq, number)

    async def on_arrival(
        self, key: Key, listener: Callable[[PendingInput], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """See `api.Inbox.on_arrival`."""

        async def arrived(got: RawMessage) -> None:
            arrived_input = await self.decoded(got)
            listener(replace(arrived_input, previous=int(got.headers.get("Nats-Last-Sequence", "-1"))))

        listening = await retry(self._client, self._client.listen, subjects.arrived_all(key), arrived)
        return _Arrivals(self._client, listening, on_gap)


class _Arrivals:
    """A subscription to arrivals, which also tells of reconnections."""

    def __init__(self, client: JetStreamClient, listening: Listening, on_gap: Callable[[], None]) -> None:
        self._client = client
        self._listening = listening
        self._on_gap = on_gap
        client.on_reconnect.add(on_gap)

    async def close(self) -> None:
        self._client.on_reconnect.discard(self._on_gap)
        await self._listening.close()
