"""Looks after sessions that nobody looks after (rule 20), and undoes creations that died half-way (see `creation`)."""

import asyncio
from typing import Final

import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.inputs import Nudge
from holdfast.bus.streams import DEDUPE
from holdfast.session.log.readmodel import Row
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.sessions.create import undo

EVERY: Final = 60.0
"""Seconds between two rounds."""

STALE: Final = 15 * 60 * 1_000_000
"""Microseconds that a claim may stand without a commit."""

HALF_MADE: Final = 2 * DEDUPE * 1_000_000
"""Microseconds after which nobody tries to store a first input any more."""

_log = structlog.get_logger()


async def sweep(ledger: SessionRepository) -> None:
    """Make a round each minute until cancelled."""
    while True:
        await asyncio.sleep(EVERY)
        try:
            await sweep_once(ledger)
        except BusError as exc:
            _log.warning("the sweeper was cut short", cause=str(exc))


async def sweep_once(ledger: SessionRepository, *, now: int | None = None) -> int:
    """One round; returns how many sessions it did something about. `now` in microseconds."""
    now = ledger.now() if now is None else now
    done = 0
    for row in ledger.model.claimed():
        if now - row.head.updated > STALE:
            done += await _nudge(ledger, row, now)
    for row in ledger.model.half_made(now - HALF_MADE):
        done += await _finish(ledger, row)
    return done


async def _nudge(ledger: SessionRepository, row: Row, now: int) -> bool:
    """Whoever held the claim is gone with its delivery if nothing waits: only a new input leads to another delivery."""
    last = await ledger.bus.log.head(row.key, leader=True)
    claim = last.commit.head.claim if last else None
    if last is None or claim is None or now - last.commit.head.updated <= STALE:
        return False
    if await ledger.bus.inbox.pending(row.key, 0):
        return False
    # The same id from every replica, so that together they nudge once.
    await ledger.bus.inbox.put(row.key, Nudge(id=f"ndg_{claim.id}_{last.seq}_{now // STALE}"))
    _log.warning("nudged a session that stood still", session=row.id)
    return True


async def _finish(ledger: SessionRepository, row: Row) -> bool:
    last = await ledger.bus.log.head(row.key, leader=True)
    if last is None or last.commit.head.count > 1:
        return False  # the follower will say so
    if await ledger.bus.inbox.pending(row.key, 0):
        ledger.model.put(row.key, last, None, whole=True)  # it is made, and only waits for a harness
        return True
    _log.warning("undoing a session whose creation died half-way", session=row.id)
    return await undo(ledger, SessionView(row.key, last, row.config))
