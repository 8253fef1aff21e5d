"""What is heard of a session's inbox while it is driven: for speed, never instead of looking."""

import asyncio

from services.bus import events as ev
from services.bus.api import Bus, Subscription, Waiting
from services.bus.ids import Key
from services.bus.inputs import ClientInput


class Arrivals:
    """Hears each input stored for one session from `open` until `close`."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Something was stored since the last look at the inbox."""
        self.interrupt = asyncio.Event()
        """An interrupt is among it."""
        self._subscription: Subscription | None = None

    async def open(self, bus: Bus, key: Key) -> None:
        """Whatever is stored after this is heard."""
        self._subscription = await bus.on_arrival(key, self._heard)

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def clear(self) -> None:
        """To be called before a look, so that nothing falls between the two."""
        self.any.clear()
        self.interrupt.clear()

    def _heard(self, waiting: Waiting) -> None:
        self.any.set()
        if interrupts(waiting):
            self.interrupt.set()


def interrupts(waiting: Waiting) -> bool:
    """Whether that input holds an interrupt."""
    given = waiting.input
    return isinstance(given, ClientInput) and any(isinstance(e, ev.UserInterrupt) for e in given.events)
