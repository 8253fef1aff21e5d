"""Erases what is left of deleted sessions, until nothing is (rule 29).

A tombstone is in the log before anything is erased, and the log says when all is erased. So a process may die at any
moment: the next one finds the session among those that are deleted and not erased, and begins again.
"""

import asyncio
import contextlib
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.ids import Key, new_id
from holdfast.bus.parked import PARKED
from holdfast.bus.streams import DEDUPLICATION_WINDOW_S, SNAPSHOTS
from holdfast.bus.times import SECOND_US
from holdfast.process.faults import point
from holdfast.session.log.readmodel.queries import DeletedSession
from holdfast.session.log.repository import SessionRepository

ROUND_INTERVAL_S: Final = 60.0
"""Seconds between two rounds; a deletion starts one at once."""

LATE_WRITES_US: Final = 2 * DEDUPLICATION_WINDOW_S * SECOND_US
"""Microseconds after its deletion from which nobody adds to a session: who began before has given up (rule 19)."""

_log = structlog.get_logger()


class Eraser:
    """Each deleted session is erased twice: at once, and when nobody adds to it any more. Then the log says so."""

    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions
        self._erased_once: set[Key] = set()
        """Sessions that this process has erased, and that may have got something since."""

    async def run(self) -> None:
        """Make rounds until cancelled."""
        while True:
            self._sessions.deleted.clear()
            try:
                await self.make_round()
            except BusError as exc:
                _log.warning("deleted sessions are left to the next round", error=str(exc))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_INTERVAL_S):
                    await self._sessions.deleted.wait()

    async def make_round(self, *, now: int | None = None) -> int:
        """One round at `now` (microseconds since 1970; None: by the clock). Returns how many sessions are done with.

        A session that cannot be erased now is left to the next round. Raises Unavailable.
        """
        now = self._sessions.now() if now is None else now
        finished = 0
        for deleted in self._sessions.read_model.queries.deleted():
            is_last = now - deleted.at > LATE_WRITES_US
            if not is_last and deleted.key in self._erased_once:
                continue
            try:
                finished += await self._erase(deleted, is_last=is_last)
            except BusError as exc:  # also a commit of a newer version, which will erase the session
                _log.warning("deleted session not erased", session=deleted.key.session, cause=str(exc))
        return finished

    async def _erase(self, deleted: DeletedSession, *, is_last: bool) -> bool:
        """Erase all that the session has but its last commit, which is or follows its tombstone.

        Returns True if that was the last time. Raises BusError.
        """
        sessions, key = self._sessions, deleted.key
        bus = sessions.bus
        last = await bus.log.head(key, leader=True)
        if last is None or not last.commit.head.deleted:
            return False  # the streams are not those of the tables; the projector will find out
        if last.commit.head.erased:  # by another replica
            sessions.read_model.projection.put(key, last, None)
            sessions.read_model.tables.scrub()
            return True
        count = await bus.log.erase(key, last.seq)
        point("session.log_erased")
        count += await bus.inbox.erase(key)
        await bus.kv.erase(SNAPSHOTS, subjects.snapshot_key(key))
        for parked in await bus.kv.list(PARKED, subjects.parked_keys(key)):
            await bus.kv.erase(PARKED, parked.key)
        sessions.forget(key)
        sessions.read_model.tables.scrub()
        if not is_last:
            self._erased_once.add(key)
        else:
            with contextlib.suppress(Conflict):  # something was appended: once more in the next round
                await sessions.append(key, last, [ev.SessionErased(id=new_id("sevt"))])
            self._erased_once.discard(key)
        _log.info("deleted session erased", session=key.session, messages=count, for_good=is_last)
        return is_last
