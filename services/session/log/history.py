"""The log of one session as clients page through it, in both directions, without reading more than is shown.

Forwards the log itself is read. Backwards the sequences of the session's commits come from the read model, and what
that does not have yet from the log: only numbers are kept for it, never the commits.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key, time_of
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import START, Position, Shown, shown

FIRST: Final = 64
"""Commits read for the first part of a page, backwards."""

WINDOW: Final = 500
"""Commits read at once after that."""

CLOCKS: Final = 60 * 1_000_000
"""Microseconds by which the clocks of two processes may differ: no event is stored earlier before its id was made."""


async def forwards(ledger: SessionRepository, key: Key, after: Position = START) -> AsyncGenerator[Shown]:
    """The shown events behind `after`, oldest first."""
    async for page in ledger.bus.log.pages(key, max(after.seq - 1, 0)):
        for stored in page:
            for one in shown(stored, after):
                yield one


async def backwards(
    ledger: SessionRepository, key: Key, end: int, before: Position | None = None
) -> AsyncGenerator[Shown]:
    """The shown events in front of `before` (None: all up to the commit `end`), newest first. Raises Unavailable."""
    upto = before.seq if before else end
    builds = ledger.model.builds
    newest = await _unlisted(ledger, key, upto)
    size = FIRST
    while True:
        window = newest[-size:]
        del newest[-size:]
        if not window:
            window = list(reversed(ledger.model.commits_below(key, upto + 1, size)))
            if ledger.model.builds != builds:
                raise Unavailable("the read model is being rebuilt")
        if not window:
            return
        found: list[Shown] = []
        async for page in ledger.bus.log.pages(key, window[0] - 1):
            found += [one for stored in page if stored.seq <= upto for one in shown(stored)]
            if page[-1].seq >= upto:
                break
        for one in reversed(found):
            if before is None or one.position < before:
                yield one
        upto, size = window[0] - 1, WINDOW


async def _unlisted(ledger: SessionRepository, key: Key, upto: int) -> list[int]:
    """Sequences up to `upto` that the read model does not have yet."""
    known = ledger.model.position
    if known >= upto:
        return []
    found: list[int] = []
    async for page in ledger.bus.log.pages(key, known):
        found += [stored.seq for stored in page if stored.seq <= upto]
        if page[-1].seq >= upto:
            break
    return found


async def position_of(ledger: SessionRepository, key: Key, event_id: str) -> Position | None:
    """Where the event with that id stands, None when it is not in the log."""
    made = time_of(event_id)
    if made is None:
        return None
    known = ledger.model.last_before(key, made - CLOCKS)
    async with aclosing(forwards(ledger, key, Position(known + 1, -1))) as events:
        async for one in events:
            if one.event.id == event_id:
                return one.position
    return None
