"""`api.Inbox` in memory."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from msgspec.structs import replace

from holdfast.bus import codec, subjects
from holdfast.bus.api import Delivery, Subscription
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.inputs import NOTHING_TAKEN, AnyInput, PendingInput, Taken, source_for
from holdfast.testing.memory.consumer import MemoryConsumer, MemoryDelivery, pending_input
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.records import CoreMessage, Record


class MemoryInbox:
    """`api.Inbox` in memory."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self._server = link.server

    async def put(self, key: Key, value: AnyInput) -> int:
        """See `api.Inbox.put`."""
        data, body = codec.encode_input(value)
        if body:
            await self._link.pause("blob")
            self._server.blobs[key, body.ref] = body.data
        return await self._link.effect("put", lambda: self._server.put(key, source_for(value), data, value.id))

    async def stream_epoch(self, cell: str) -> str:
        """See `api.Inbox.stream_epoch`."""
        await self._link.pause("stream_epoch")
        return self._server.stream_epoch

    async def pending(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> list[PendingInput]:
        """See `api.Inbox.pending`."""
        return [one async for one in self.waiting(key, above, upto=upto)]

    async def waiting(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> AsyncGenerator[PendingInput]:
        """See `api.Inbox.waiting`."""
        found = await self._stored(key, above, upto)
        await self._link.pause("pending:answer")
        for record in found:
            yield pending_input(self._link, record)

    async def undecoded(self, key: Key, above: Taken, *, upto: int) -> AsyncGenerator[PendingInput]:
        """See `api.Inbox.undecoded`."""
        found = await self._stored(key, above, upto)
        await self._link.pause("pending:answer")
        for record in found:
            yield PendingInput(record.seq, record.data, None, record.source)

    async def _stored(self, key: Key, above: Taken, upto: int) -> list[Record]:
        await self._link.pause("pending")
        until = self._link.replica_time("pending")
        present = [r for r in self._server.inbox.values() if r.stored_at <= until]
        removed_later = [r for r in self._server.removed if r.stored_at <= until < r.removed_at]
        visible = sorted((r for r in present + removed_later if r.key == key), key=lambda r: r.seq)
        reached = max((r.seq for r in visible), default=0)
        if reached < upto:
            visible += [r for s, r in sorted(self._server.inbox.items()) if r.key == key and reached < s <= upto]
        return [r for r in visible if r.seq > above.of(r.source)]

    async def put_again(self, key: Key, data: bytes, publish_id: str) -> int:
        """See `api.Inbox.put_again`."""
        return await self._link.effect("put", lambda: self._server.put(key, "in", data, publish_id))

    async def erase(self, key: Key) -> int:
        """See `api.Inbox.erase`."""
        return await self._link.effect("erase", lambda: self._server.erase_inbox(key))

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
        await MemoryConsumer(self._link, handle, limit, name).run(stop)

    async def pass_on(self, delivery: Delivery, to: str, *, load: int) -> bool:
        """See `api.Inbox.pass_on`. Here a consumer refuses only if it has no room."""
        assert isinstance(delivery, MemoryDelivery)
        record, count = delivery.record, delivery.count

        def take() -> bool:
            taker = self._server.takers.get(to)
            return taker is not None and taker(record, count)

        try:
            return await self._link.effect("pass_on", take)
        except Unavailable:
            return True

    async def redeliver(self, cell: str, seq: int, number: int) -> None:
        """See `api.Inbox.redeliver`. As on the server, the number of an older delivery does it too."""
        await self._link.best_effort("redeliver", lambda: self._server.nak(seq, 0.0))

    async def on_arrival(
        self, key: Key, listener: Callable[[PendingInput], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """See `api.Inbox.on_arrival`. A connection in memory is never lost, so `on_gap` is not called."""
        await self._link.pause("on_arrival")
        name, faults, loop = self._link.name, self._server.faults, asyncio.get_running_loop()

        def receive(message: CoreMessage) -> None:
            source = subjects.source_of(message.subject)
            record = Record(message.seq, key, message.data, self._server.now(), source=source)
            times = 0 if faults.fate(name, "arrival") == "lost" else 1 + faults.repeats(name, "arrival")
            for _ in range(times):
                loop.call_later(faults.delay(name, "arrival"), tell, record, message.previous)

        def tell(record: Record, previous: int) -> None:
            if not self._link.dead:
                with contextlib.suppress(asyncio.CancelledError):  # the process died of decoding the input
                    listener(replace(pending_input(self._link, record), previous=previous))

        return self._link.listen(subjects.arrived_all(key), receive)
