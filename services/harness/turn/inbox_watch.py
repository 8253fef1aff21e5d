"""Hears inputs as they are stored for a session: for latency, never in place of reading the inbox."""

import asyncio
from collections.abc import Sequence

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput, PendingInput, Taken


class InboxWatch:
    """Hears each input stored for one session from `open` until `close`; best effort."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Set if an input was heard since the last `clear`."""
        self.interrupt = asyncio.Event()
        """Set if an interrupt is among them."""
        self._heard: list[PendingInput] = []
        self._subscription: Subscription | None = None

    async def open(self, bus: Bus, key: Key) -> None:
        """Begin to listen. May be called again."""
        if self._subscription is None:
            self._subscription = await bus.inbox.on_arrival(key, self._hear)

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def clear(self) -> list[PendingInput]:
        """Return what was heard since the last call. Call it before reading the inbox, so that no input is missed."""
        self.any.clear()
        self.interrupt.clear()
        heard, self._heard = self._heard, []
        return heard

    def _hear(self, pending: PendingInput) -> None:
        if pending.newer:
            return  # not for this process; the next arrival names it as its predecessor, so that the inbox is read
        self.any.set()
        self._heard.append(pending)
        if interrupts(pending):
            self.interrupt.set()


def contiguous_from(heard: Sequence[PendingInput], taken: Taken) -> list[PendingInput] | None:
    """The heard inputs above `taken` if those of each source are contiguous, else None: then the inbox must be read.

    Each arrival names the sequence of the input before it on its own subject, so a missing one shows. It says nothing
    about the other source, which is why `taken` is a position for each (tests/model/arrivals.py).
    """
    found: list[PendingInput] = []
    for pending in heard:
        if not pending.above(taken):
            continue
        if not 0 <= pending.previous <= taken.of(pending.source):
            return None
        found.append(pending)
        taken = taken.upto(pending.source, pending.seq)
    return found


def interrupts(pending: PendingInput) -> bool:
    """True if the input contains an interrupt."""
    given = pending.input
    return isinstance(given, ClientInput) and any(isinstance(e, ev.UserInterrupt) for e in given.events)
