"""The gate of a binding: which of its tasks have a place, and which wait for one in order (rules 38 and 39). Pure.

A task has its place from before its record is open until its turn has ended. All of a binding is in one value of the
bucket `gates`, so that one compare-and-set decides about limit and order at once.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec.structs import replace

MAX_IN_LINE: Final = 200
"""Tasks whose order is kept. Those behind them wait too, and get in line as it gets shorter: the value stays small."""


class Message(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A message of the task queue. They sort in the order in which they start: interactive ones before batch."""

    batch: bool
    stored_ns: int
    """When it was stored, in nanoseconds since 1970; it tells two streams of one name apart."""
    seq: int
    task: str


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A task that is open, by the message for which it was let in. `since` in microseconds since 1970."""

    message: Message
    since: int

    @property
    def task(self) -> str:
        return self.message.task


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """`line` is sorted."""

    v: int = msgspec.field(default_factory=lambda: 1)
    open: tuple[Place, ...] = ()
    line: tuple[Message, ...] = ()

    def has(self, task: str) -> bool:
        """Whether the task has a place."""
        return any(place.task == task for place in self.open)

    def is_hopeless(self, message: Message) -> bool:
        """Whether so many others come first that the message cannot even get in line."""
        return len(self.line) >= MAX_IN_LINE and self.line[-1] < message and not self.has(message.task)


class Entered(msgspec.Struct, frozen=True):
    """`place`: None for a task that has to wait."""

    place: Place | None
    is_in_line: bool
    """It waits, and its order is kept."""


def enter(gate: Gate, place: Place, *, limit: int) -> tuple[Gate, Entered]:
    """The task takes a place, keeps the one that it has, or waits.

    It waits too while the free places are needed for those that come first. A task that comes with a newer message than
    before keeps its place for that one: who decided about the earlier message must not free it. With an older one it
    keeps the place as it is.
    """
    line = tuple(message for message in gate.line if message != place.message)
    own = next((other for other in gate.open if other.task == place.task), None)
    if own:
        kept = place if place.message.stored_ns > own.message.stored_ns else own
        opened = tuple(kept if other is own else other for other in gate.open)
        return replace(gate, open=opened, line=line), Entered(kept, False)
    ahead = sum(message < place.message for message in line)
    if len(gate.open) + ahead < limit:
        return replace(gate, open=(*gate.open, place), line=line), Entered(place, False)
    line = tuple(sorted((*line, place.message))[:MAX_IN_LINE])
    return replace(gate, line=line), Entered(None, place.message in line)


def leave(gate: Gate, places: Collection[Place]) -> Gate:
    """Those places are free; one that its task has taken again for another message stays."""
    gone = {place.message for place in places}
    return replace(gate, open=tuple(place for place in gate.open if place.message not in gone))


def out_of_line(gate: Gate, messages: Collection[Message]) -> Gate:
    """Those messages wait no more: they are gone from the queue."""
    return replace(gate, line=tuple(message for message in gate.line if message not in messages))


def next_in_line(gate: Gate, held: Collection[Message], *, limit: int) -> list[Message]:
    """Of the messages that one process `held` back: those that there is a place for now, in their order.

    Held back are also some that are not in line. They are let try as if they were, so that a long line that gets short
    is filled at once.
    """
    free = limit - len(gate.open)
    if free <= 0:
        return []
    first: Any = sorted({*gate.line, *held})[:free]
    return [message for message in first if message in held]
