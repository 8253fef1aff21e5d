"""Events that clients have sent and no harness has taken yet: they stand behind those of the log in lists."""

from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key, time_of
from holdfast.bus.inputs import ClientInput
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import event_to_api

MAX_QUEUED_EVENTS: Final = 1_000
MAX_QUEUED_BYTES: Final = 16 * 1024 * 1024
"""Queued events that a list shows at most, the oldest, and their bytes; the others are shown when these are taken."""


class QueuedEvent(msgspec.Struct, frozen=True):
    """An event that waits in the inbox, as clients see it in JSON."""

    id: str
    type: str
    data: bytes


class Queue(msgspec.Struct, frozen=True):
    """What is queued behind the commit `last`, in the order in which it will be taken."""

    last: Stored
    events: list[QueuedEvent]

    def behind(self, event_id: str) -> list[QueuedEvent]:
        """Those behind that one; all if it is not queued."""
        index = next((index for index, event in enumerate(self.events) if event.id == event_id), -1)
        return self.events[index + 1 :]

    def before(self, event_id: str) -> list[QueuedEvent] | None:
        """Those before that one; None if it is not queued; all for an empty id."""
        if not event_id:
            return self.events
        index = next((index for index, event in enumerate(self.events) if event.id == event_id), None)
        return None if index is None else self.events[:index]


async def read_queue(sessions: SessionRepository, key: Key, last: Stored, keep: Callable[[str], bool]) -> Queue:
    """The queued events of the types that `keep` admits. `last`: the last commit that is known.

    An event that is taken while the inbox is read is in neither, so `last` is read again, and is a later one then.
    Raises ApiError 404, BusError.
    """
    epoch = await sessions.bus.inbox.stream_epoch(key.cell)
    while True:
        events = await _read(sessions, key, last, epoch, keep)
        now = await sessions.last_commit(key, leader=True)
        if now.commit.head.taken_in(epoch).inputs == last.commit.head.taken_in(epoch).inputs:
            return Queue(last, events)
        last = now


async def _read(
    sessions: SessionRepository, key: Key, last: Stored, epoch: str, keep: Callable[[str], bool]
) -> list[QueuedEvent]:
    head = last.commit.head
    found: list[QueuedEvent] = []
    size = 0
    async with aclosing(sessions.bus.inbox.waiting(key, head.taken_in(epoch))) as inputs:
        async for one in inputs:
            if not isinstance(one.input, ClientInput) or one.input.id in head.recent:
                continue  # the last: stored a second time, so that it will not be taken (rule 5)
            for event in one.input.events:
                if not keep(ev.type_of(event)):
                    continue
                data = msgspec.json.encode(event_to_api(event, _processed_at(event)))
                size += len(data)
                if found and (size > MAX_QUEUED_BYTES or len(found) >= MAX_QUEUED_EVENTS):
                    return found
                found.append(QueuedEvent(event.id, ev.type_of(event), data))
    return found


def _processed_at(event: ev.ClientEvent) -> int | None:
    """The result of a custom tool counts as processed on receipt (C.6)."""
    return time_of(event.id) if isinstance(event, ev.UserCustomToolResult) else None
