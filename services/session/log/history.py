"""The events of one session for lists, in both directions; commits are read only as far as the client reads.

Forwards, the log itself is read. Backwards, the sequences of the session's commits come from the read model; the
sequences of commits that the read model does not have yet come from the log.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key, time_of
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import START, Position, VisibleEvent, visible_events

WINDOW_COMMITS: Final = 500
"""Commits read at once at most."""

MAX_CLOCK_SKEW_US: Final = 60 * 1_000_000
"""Assumed maximum difference between the clocks of two processes, in microseconds: an event may be stored that much
earlier than the time in its id."""


async def forwards(
    sessions: SessionRepository,
    key: Key,
    after: Position = START,
    *,
    first: int = WINDOW_COMMITS,
    end: int = sys.maxsize,
) -> AsyncGenerator[VisibleEvent]:
    """The visible events behind `after` up to commit `end`, oldest first. `first`: commits that are read at first."""
    async with aclosing(sessions.bus.log.pages(key, max(after.seq - 1, 0), first=first)) as pages:
        async for page in pages:
            for stored in page:
                if stored.seq > end:
                    return
                for event in visible_events(stored, after):
                    yield event


async def backwards(
    sessions: SessionRepository, key: Key, end: int, before: Position | None = None, *, first: int = WINDOW_COMMITS
) -> AsyncGenerator[VisibleEvent]:
    """The visible events before `before` (None: all up to commit `end`), newest first. Raises Unavailable.

    `first`: commits that are read at first.
    """
    upto = before.seq if before else end
    read_model = sessions.read_model
    builds = read_model.tables.builds
    unlisted = await _unlisted_seqs(sessions, key, upto)
    size = min(first, WINDOW_COMMITS)
    while True:
        window = unlisted[-size:]
        del unlisted[-size:]
        if not window:
            window = list(reversed(read_model.queries.commits_below(key, upto + 1, size)))
            if read_model.tables.builds != builds:
                raise Unavailable("the read model is being rebuilt")
        if not window:
            return
        for event in reversed(await _read(sessions, key, window[0], upto, len(window))):
            if before is None or event.position < before:
                yield event
        upto, size = window[0] - 1, min(size * 2, WINDOW_COMMITS)


async def _read(sessions: SessionRepository, key: Key, first: int, upto: int, count: int) -> list[VisibleEvent]:
    """The visible events of the `count` commits from `first` to `upto`, oldest first."""
    found: list[VisibleEvent] = []
    async with aclosing(sessions.bus.log.pages(key, first - 1, first=count)) as pages:
        async for page in pages:
            found += [event for stored in page if stored.seq <= upto for event in visible_events(stored)]
            if page[-1].seq >= upto:
                break
    return found


async def _unlisted_seqs(sessions: SessionRepository, key: Key, upto: int) -> list[int]:
    """Sequences of commits up to `upto` that the read model does not have yet, oldest first."""
    position = sessions.read_model.tables.position(key.cell)
    if position >= upto:
        return []
    found: list[int] = []
    async with aclosing(sessions.bus.log.pages(key, position)) as pages:
        async for page in pages:
            found += [stored.seq for stored in page if stored.seq <= upto]
            if page[-1].seq >= upto:
                break
    return found


async def find_position(sessions: SessionRepository, key: Key, event_id: str) -> Position | None:
    """The position of the event with that id, None when it is not in the log of the session."""
    made_at = time_of(event_id)
    if made_at is None:
        return None
    seq = sessions.read_model.queries.last_before(key, made_at - MAX_CLOCK_SKEW_US)
    async with aclosing(forwards(sessions, key, Position(seq + 1, -1))) as events:
        async for event in events:
            if event.event.id == event_id:
                return event.position
    return None
