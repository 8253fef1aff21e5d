"""Hears inputs as they are stored for a session: for latency, never in place of reading the inbox."""

import asyncio
from collections.abc import Collection, Sequence

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput, PendingInput, Taken


class InboxWatch:
    """Hears each input stored for one session from `open` until `close`; best effort."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Set if an input was heard since the last `clear`."""
        self.arrived = asyncio.Event()
        """Set at each arrival; only its waiter clears it."""
        self.heard: list[PendingInput] = []
        """What was heard since the last `clear`."""
        self._interrupts: dict[str, asyncio.Event] = {}
        self._subscription: Subscription | None = None

    def interrupt(self, thread: str) -> asyncio.Event:
        """Set while an interrupt of the thread was heard and not taken."""
        return self._interrupts.setdefault(thread, asyncio.Event())

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
        heard, self.heard = self.heard, []
        return heard

    def forget_taken(self, taken: Taken, asking: Collection[str]) -> None:
        """Forget what was heard and is taken. An interrupt of a thread in `asking` stays set: it ends the request."""
        self.heard = [p for p in self.heard if p.above(taken)]
        if not self.heard:
            self.any.clear()
        for thread, event in self._interrupts.items():
            if thread not in asking and not any(_concerns(e, thread) for p in self.heard for e in interrupts(p)):
                event.clear()

    def _hear(self, pending: PendingInput) -> None:
        self.any.set()
        self.arrived.set()
        self.heard.append(pending)
        for interrupt in interrupts(pending):
            for thread, event in self._interrupts.items():
                if _concerns(interrupt, thread):
                    event.set()


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


def interrupts(pending: PendingInput) -> list[ev.UserInterrupt]:
    """The interrupts in the input."""
    given = pending.input
    return [e for e in given.events if isinstance(e, ev.UserInterrupt)] if isinstance(given, ClientInput) else []


def _concerns(interrupt: ev.UserInterrupt, thread: str) -> bool:
    """True if it interrupts that thread: it names it, or no thread (see `interrupted_threads`)."""
    return interrupt.thread == thread or not (interrupt.thread or interrupt.session_thread_id is not None)
