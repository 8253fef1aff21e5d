"""Nudges sessions whose harness is gone (rule 20), and deletes incomplete sessions (see `sessions.create`)."""

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from typing import Final

import structlog

from holdfast.bus.errors import BusError, Damaged, Newer
from holdfast.bus.inputs import Nudge
from holdfast.bus.streams import DEDUPLICATION_WINDOW_S
from holdfast.bus.times import CLAIM_STALE_US, SECOND_US
from holdfast.session.log.readmodel.queries import ListedSession
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.sessions.create import undo

ROUND_INTERVAL_S: Final = 60.0
"""Seconds between two rounds."""

INCOMPLETE_AGE_US: Final = 2 * DEDUPLICATION_WINDOW_S * SECOND_US
"""Microseconds after its creation from which nobody tries to store the first input of a session any more."""

_log = structlog.get_logger()


async def sweep(sessions: SessionRepository) -> None:
    """Make a round each ROUND_INTERVAL_S until cancelled."""
    while True:
        await asyncio.sleep(ROUND_INTERVAL_S)
        try:
            await sweep_once(sessions)
        except BusError as exc:
            _log.warning("sweep aborted", error=str(exc))


async def sweep_once(sessions: SessionRepository, *, now: int | None = None) -> int:
    """One round at `now` (microseconds since 1970; None: by the clock). Returns how many sessions it changed."""
    now = sessions.now() if now is None else now
    changed = 0
    for cell in sessions.cells:
        for listed in sessions.read_model.queries.stale(cell, now - CLAIM_STALE_US):
            changed += await _unless_unreadable(listed, _nudge(sessions, listed, now))
    for listed in sessions.read_model.queries.incomplete(now - INCOMPLETE_AGE_US):
        changed += await _unless_unreadable(listed, _complete_or_undo(sessions, listed))
    return changed


async def _unless_unreadable(listed: ListedSession, step: Awaitable[bool]) -> bool:
    """The result of `step`; False for a session that this version cannot read: the others still have their turn."""
    try:
        return await step
    except (Newer, Damaged) as exc:
        _log.warning("session left out of the sweep", session=listed.id, cause=str(exc))
        return False


async def _something_waits(sessions: SessionRepository, listed: ListedSession) -> bool:
    async with aclosing(sessions.bus.inbox.waiting(listed.key)) as inputs:
        return await anext(inputs, None) is not None


async def _nudge(sessions: SessionRepository, listed: ListedSession, now: int) -> bool:
    """Put a nudge into the inbox of a session with a stale claim, if nothing waits there that will be redelivered."""
    last = await sessions.bus.log.head(listed.key, leader=True)
    claim = last.commit.head.claim if last else None
    if last is None or claim is None or now - last.commit.head.updated <= CLAIM_STALE_US:
        return False
    if await _something_waits(sessions, listed):
        return False
    # Every replica makes the same id, so that together they put one nudge.
    nudge = Nudge(id=f"ndg_{claim.id}_{last.seq}_{now // CLAIM_STALE_US}")
    await sessions.bus.inbox.put(listed.key, nudge)
    _log.warning("session nudged: its claim is stale", session=listed.id)
    return True


async def _complete_or_undo(sessions: SessionRepository, listed: ListedSession) -> bool:
    """List an incomplete session whose first input is stored; undo one whose first input never came."""
    last = await sessions.bus.log.head(listed.key, leader=True)
    if last is None or last.commit.head.count > 1:
        return False  # the projector will complete or delete its row
    if await _something_waits(sessions, listed):
        sessions.read_model.projection.put(listed.key, last, None, complete=True)
        return True
    _log.warning("incomplete session deleted: its creation was not finished", session=listed.id)
    return await undo(sessions, SessionView(listed.key, last, listed.config))
