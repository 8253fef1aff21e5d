"""Deliveries of the inbox in memory."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable

import structlog

from holdfast.bus import codec, streams
from holdfast.bus.api import Delivery
from holdfast.bus.codec import BlobInput
from holdfast.bus.errors import Damaged, Newer
from holdfast.bus.ids import Key
from holdfast.bus.inputs import PendingInput, Source
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.records import Puller, Record

log = structlog.get_logger()

DELIVERY: contextvars.ContextVar["MemoryDelivery | None"] = contextvars.ContextVar("delivery", default=None)
"""The delivery that the running task handles: tells a checker on whose behalf something was written."""


def pending_input(link: MemoryLink, record: Record) -> PendingInput:
    """An inbox message, decoded in the process of `link`, with its body put back."""
    link.server.faults.reads_input(link.name, record.data)
    data = record.data
    try:
        value = codec.decode_input(data)
        if isinstance(value, BlobInput):
            data = link.server.blob(record.key, value.ref)
            value = codec.decode_input(data)
    except Newer:
        return PendingInput(record.seq, data, None, record.source, newer=True)
    except Damaged as exc:
        log.warning("inbox.unreadable", seq=record.seq, error=str(exc))
        return PendingInput(record.seq, data, None, record.source)
    input_value = None if isinstance(value, BlobInput) else value
    return codec.pending_input(record.seq, record.source, data, input_value)


class MemoryDelivery:
    """`api.Delivery` in memory."""

    def __init__(self, link: MemoryLink, record: Record, count: int, *, passed_on: bool = False) -> None:
        self._link = link
        self.record = record
        self.count = count
        self.passed_on = passed_on

    @property
    def key(self) -> Key:
        return self.record.key

    @property
    def source(self) -> Source:
        return self.record.source

    @property
    def seq(self) -> int:
        return self.record.seq

    @property
    def number(self) -> int:
        """See `api.Delivery.number`; here unique only among the deliveries of one input."""
        return self.count

    @property
    def newer(self) -> bool:
        """See `api.Delivery.newer`."""
        return codec.is_newer_input(self.record.data)

    async def ack(self, *, sure: bool = True) -> None:
        """See `api.Delivery.ack`."""
        how = self._link.effect if sure else self._link.best_effort
        await how("ack", lambda: self._link.server.ack(self.seq))

    async def nak(self, delay: float = 0.0) -> None:
        """See `api.Delivery.nak`."""
        await self._link.best_effort("nak", lambda: self._link.server.nak(self.seq, delay))

    async def in_progress(self) -> None:
        """See `api.Delivery.in_progress`."""
        await self._link.best_effort("in_progress", lambda: self._link.server.in_progress(self.seq))


class MemoryConsumer:
    """One consumer loop of one process."""

    def __init__(
        self, link: MemoryLink, handle: Callable[[Delivery], Awaitable[None]], limit: int, name: str = ""
    ) -> None:
        """`name`: that under which others pass deliveries on to it; empty: they cannot."""
        self._link = link
        self._name = name
        self._server = link.server
        self._handle = handle
        self._puller = Puller(limit, self._take, link.name)
        self._context = contextvars.copy_context()
        self._running: dict[asyncio.Task[None], MemoryDelivery] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then wait for the running handlers."""
        self._link.at_death(self._stop)
        keeping_alive = asyncio.create_task(self._keep_alive())
        try:
            await self._link.pause("consume")
            self._server.pull(self._puller)
            if self._name:
                self._server.takers[self._name] = self.take_over
            await stop.wait()
            self._stop()
            if self._running:
                await asyncio.wait(list(self._running))
        finally:
            self._stop()
            keeping_alive.cancel()

    def _stop(self) -> None:
        self._server.stop_pulling(self._puller)
        self._server.takers.pop(self._name, None)

    def take_over(self, record: Record, count: int) -> bool:
        """Take a delivery of another consumer, if there is room."""
        if self._puller.free <= 0:
            return False
        self._puller.free -= 1
        self._take(record, count, passed_on=True)
        return True

    def _take(self, record: Record, count: int, *, passed_on: bool = False) -> None:
        delivery = MemoryDelivery(self._link, record, count, passed_on=passed_on)
        task = self._context.run(asyncio.create_task, self._run(delivery))
        self._running[task] = delivery
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._puller.free += 1
        self._server.deliver()

    async def _run(self, delivery: MemoryDelivery) -> None:
        DELIVERY.set(delivery)
        try:
            await self._link.pause("delivered")
            await self._handle(delivery)
        except Exception:
            log.exception("consume.handler_failed", session=delivery.key.session, seq=delivery.seq)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(streams.IN_PROGRESS_INTERVAL_S)
            for delivery in list(self._running.values()):
                await delivery.in_progress()
