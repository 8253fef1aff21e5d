"""Hears inputs as they are stored for a session: for latency, never in place of reading the inbox."""

import asyncio
from collections.abc import Sequence
from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Subscription
from holdfast.bus.ids import Key
from holdfast.bus.inputs import ClientInput, PendingInput, Taken, taken_after

HEARD_LIMIT_INPUTS: Final = 1000
"""Inputs that are kept until they are taken; if more are heard they are all forgotten, and the inbox is read."""

HEARD_LIMIT_BYTES: Final = 4 * 1024 * 1024
"""The same in bytes of their bodies."""


class InboxWatch:
    """Hears each input stored for one session from `open` until `close`; best effort."""

    def __init__(self) -> None:
        self.any = asyncio.Event()
        """Set if an input was heard since the last `clear`."""
        self.interrupt = asyncio.Event()
        """Set if an interrupt is among them."""
        self.gap = asyncio.Event()
        """Set if one may have been missed since then: an arrival names another before it, or the connection broke."""
        self._known: Taken | None = None
        """Every input up to here was read or heard; None: not known."""
        self._heard: list[PendingInput] | None = []
        """None: too many, so they were forgotten."""
        self._heard_bytes = 0
        self._subscription: Subscription | None = None

    async def open(self, bus: Bus, key: Key) -> None:
        """Begin to listen. May be called again."""
        if self._subscription is None:
            self._subscription = await bus.inbox.on_arrival(key, self._hear, self.gap.set)

    async def close(self) -> None:
        """Stop listening."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    def clear(self) -> list[PendingInput] | None:
        """Return what was heard since the last call; None if that was too much to be kept.

        Call it before reading the inbox, so that no input is missed.
        """
        for event in (self.any, self.interrupt, self.gap):
            event.clear()
        heard, self._heard, self._heard_bytes = self._heard, [], 0
        return heard

    def expect_from(self, known: Taken | None) -> None:
        """Every input up to `known` is known, so an arrival that names a later one before it shows a gap."""
        self._known = known
        if known is not None and self._heard:
            self._known = taken_after(known, self._heard)
            if contiguous_from(self._heard, known) is None:
                self.gap.set()

    def _hear(self, pending: PendingInput) -> None:
        if pending.newer:
            return  # not for this process; the next arrival names it as its predecessor, so that the inbox is read
        self.any.set()
        if interrupts(pending):
            self.interrupt.set()
        if self._known is not None:
            if contiguous_from([pending], self._known) is None:
                self.gap.set()
            self._known = self._known.upto(pending.source, pending.seq)
        if self._heard is None:
            return
        self._heard.append(pending)
        self._heard_bytes += len(pending.data)
        if len(self._heard) > HEARD_LIMIT_INPUTS or self._heard_bytes > HEARD_LIMIT_BYTES:
            self._heard = None


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
