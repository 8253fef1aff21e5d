"""Further deliveries of a session that this process drives: they take no slot, and are acked once they are taken."""

import asyncio
from typing import Final

from holdfast.bus.api import Delivery
from holdfast.harness.turn.appender import Appender

ACK_DELAY_S: Final = 0.005
"""Acks are delayed so that they do not compete with the model request on the event loop."""

NAK_DELAY_S: Final = 10.0
"""Delay of the first delivery; it grows by as much with each further one, up to NAK_DELAY_LIMIT_S."""

NAK_DELAY_LIMIT_S: Final = 60.0

DELIVERIES_LIMIT: Final = 1000
"""Deliveries of one session that are remembered; one beyond that is acked when it is delivered again."""


class FurtherDeliveries:
    """Those of one runner. An ack counts although the delivery was NAKed before, so none is held by its handler."""

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._waiting: dict[int, Delivery] = {}
        """By sequence; the latest delivery of each."""
        self._acking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """The number of deliveries that wait until their input is taken."""
        return len(self._waiting)

    async def add(self, delivery: Delivery) -> None:
        """Ack it if its input is taken (rule 2). Else NAK it (rule 3), and ack it when its input is taken."""
        if not self._appender.is_done(delivery.seq, delivery.source):
            self._waiting.pop(delivery.seq, None)
            if len(self._waiting) < DELIVERIES_LIMIT:
                self._waiting[delivery.seq] = delivery
                if self._acking is None:
                    self._acking = asyncio.create_task(self._ack_taken())
            await delivery.nak(min(NAK_DELAY_S * delivery.count, NAK_DELAY_LIMIT_S))
            return
        await asyncio.sleep(ACK_DELAY_S)
        await delivery.ack(sure=False)

    async def _ack_taken(self) -> None:
        """Ack what was taken after each commit, until the runner ends or nothing waits."""
        going_on = True
        while True:
            for delivery in [d for d in self._waiting.values() if self._appender.is_done(d.seq, d.source)]:
                if self._waiting.get(delivery.seq) is delivery:
                    del self._waiting[delivery.seq]
                await delivery.ack(sure=False)
            if not going_on or not self._waiting:
                break
            going_on = await self._appender.folded()
            await asyncio.sleep(ACK_DELAY_S)
        self._acking = None

    async def close(self) -> None:
        """Ack what was taken by the last commits of the runner, which has ended; the rest is delivered again."""
        if self._acking is not None:
            await self._acking
