"""What is heard of a session's inbox while it is driven: for speed, never instead of looking."""

import asyncio

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput, PendingInput


class InboxWatch:
    """Hears each input stored for one session from `open` until `close`."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Something was stored since the last look at the inbox."""
        self.interrupt = asyncio.Event()
        """An interrupt is among it."""
        self._heard: list[PendingInput] = []
        self._subscription: Subscription | None = None

    async def open(self, bus: Bus, key: Key) -> None:
        """Whatever is stored after this is heard. May be called again."""
        if self._subscription is None:
            self._subscription = await bus.inbox.on_arrival(key, self._hear)

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def clear(self) -> list[PendingInput]:
        """What was heard since the last time. To be called before a look, so that nothing falls between the two."""
        self.any.clear()
        self.interrupt.clear()
        heard, self._heard = self._heard, []
        return heard

    def _hear(self, waiting: PendingInput) -> None:
        self.any.set()
        self._heard.append(waiting)
        if interrupts(waiting):
            self.interrupt.set()


def contiguous_from(heard: list[PendingInput], taken: int) -> list[PendingInput] | None:
    """What of it waits above `taken`, if that is all that waits: each names what came before it. None: look."""
    found: list[PendingInput] = []
    for waiting in heard:
        if waiting.seq <= taken:
            continue
        if not 0 <= waiting.previous <= taken:
            return None
        found.append(waiting)
        taken = waiting.seq
    return found


def interrupts(waiting: PendingInput) -> bool:
    """Whether that input holds an interrupt."""
    given = waiting.input
    return isinstance(given, ClientInput) and any(isinstance(e, ev.UserInterrupt) for e in given.events)
