"""Hears inputs as they are stored for a session: for latency, never in place of reading the inbox."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput, PendingInput, Taken, taken_after
from holdfast.process import failures

log = structlog.get_logger()

HEARD_LIMIT_INPUTS: Final = 1000
"""Inputs that are kept until they are taken; if more are heard they are all forgotten, and the inbox is read."""

HEARD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""The same in bytes of their bodies."""

RESTING_LIMIT_INPUTS: Final = 4
"""HEARD_LIMIT_INPUTS while nobody drives the session in this process: a claim needs only the first."""

RESTING_LIMIT_BYTES: Final = 64 * 1024
"""HEARD_LIMIT_BYTES while nobody drives the session in this process."""


class InboxWatch:
    """Hears each input stored for one session from `open` until `close`; best effort."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Set if an input was heard since the last `clear`."""
        self.arrived = asyncio.Event()
        """Set at each arrival, and when one may have been missed; only its waiter clears it."""
        self.gap = asyncio.Event()
        """Set if one may have been missed since then: an arrival names another before it, or the connection broke."""
        self.heard: list[PendingInput] | None = []
        """What was heard since the last `clear` and is not taken; None: too much, so it was forgotten."""
        self._heard_bytes = 0
        self._limits = HEARD_LIMIT_INPUTS, HEARD_LIMIT_BYTES
        self._known: Taken | None = None
        """Every input up to here was read or heard; None: not known."""
        self._interrupts: dict[str, asyncio.Event] = {}
        self._subscription: Subscription | None = None

    def interrupt(self, thread: str) -> asyncio.Event:
        """Set while an interrupt of the thread was heard and not taken."""
        return self._interrupts.setdefault(thread, asyncio.Event())

    async def open(self, bus: Bus, key: Key) -> None:
        """Begin to listen. May be called again."""
        if self._subscription is None:
            self._subscription = await bus.inbox.on_arrival(key, self._hear, self._may_have_missed)

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def clear(self) -> list[PendingInput] | None:
        """Return what was heard since the last call; None if that was too much to be kept.

        Call it before reading the inbox, so that no input is missed.
        """
        self.any.clear()
        self.gap.clear()
        heard, self.heard, self._heard_bytes = self.heard, [], 0
        return heard

    def forget_taken(self, taken: Taken, asking: Collection[str]) -> None:
        """Forget what was heard and is taken. An interrupt of a thread in `asking` stays set: it ends the request."""
        if self.heard is None:
            return
        self.heard = [p for p in self.heard if p.above(taken)]
        self._heard_bytes = sum(len(p.data) for p in self.heard)
        if not self.heard:
            self.any.clear()
        for thread, event in self._interrupts.items():
            if thread not in asking and not any(_concerns(e, thread) for p in self.heard for e in interrupts(p)):
                event.clear()

    def rest(self, taken: Taken) -> None:
        """The session was released: until `wake` keep little of what is heard, nothing of what is taken."""
        self._limits = RESTING_LIMIT_INPUTS, RESTING_LIMIT_BYTES
        self.expect_from(None)
        self.forget_taken(taken, ())

    def wake(self) -> None:
        """The session is driven again."""
        self._limits = HEARD_LIMIT_INPUTS, HEARD_LIMIT_BYTES

    def expect_from(self, known: Taken | None) -> None:
        """Every input up to `known` is known, so an arrival that names a later one before it shows a gap."""
        self._known = known
        if known is not None and self.heard:
            self._known = taken_after(known, self.heard)
            if contiguous_from(self.heard, known) is None:
                self._may_have_missed()

    def _hear(self, pending: PendingInput) -> None:
        if pending.newer:
            return  # not for this process; the next arrival names it as its predecessor, so that the inbox is read
        self.any.set()
        for interrupt in interrupts(pending):
            for thread, event in self._interrupts.items():
                if _concerns(interrupt, thread):
                    event.set()
        if self._known is not None:
            if contiguous_from([pending], self._known) is None:
                log.info("inbox.arrival_lost", before=pending.seq, failure=failures.message_lost("arrival"))
                self._may_have_missed()
            self._known = self._known.upto(pending.source, pending.seq)
        if self.heard is not None:
            self.heard.append(pending)
            self._heard_bytes += len(pending.data)
            if len(self.heard) > self._limits[0] or self._heard_bytes > self._limits[1]:
                self.heard = None
        self.arrived.set()

    def _may_have_missed(self) -> None:
        self.gap.set()
        self.arrived.set()


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
