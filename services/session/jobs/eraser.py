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
from holdfast.session.log.repository import SessionRepository

ROUND_INTERVAL_S: Final = 60.0
"""Seconds between two rounds; a deletion by this process starts one at once."""

LATE_WRITES_US: Final = 2 * DEDUPLICATION_WINDOW_S * SECOND_US
"""Microseconds after its deletion from which nobody adds to a session: who began before has given up (rule 19)."""

_log = structlog.get_logger()


class Eraser:
    """Each deleted session is erased twice: at once, and when nobody adds to it any more. Then the log says so.

    The replica that deleted a session erases it at once, the others in their next round: by then there is nothing left,
    unless the first one died. Two that erase side by side would take the pauses of `bus.jetstream.erase` from neighbours.
    """

    def __init__(self, sessions: SessionRepository) -> None:
        self._sessions = sessions
        self._tables = sessions.read_model.tables
        self._erased_once: set[Key] = set()
        """Sessions that this process has erased, and that may have got something since."""

    async def run(self) -> None:
        """Make rounds until cancelled. The first one begins when the read model knows all that is deleted."""
        await self._wait_for(self._tables.caught_up)
        while True:
            self._sessions.deleted.clear()
            try:
                await self.make_round()
            except BusError as exc:
                _log.warning("deleted sessions are left to the next round", error=str(exc))
            await self._wait_for(self._sessions.deleted)

    @staticmethod
    async def _wait_for(event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_INTERVAL_S):
                await event.wait()

    async def make_round(self, *, now: int | None = None) -> int:
        """One round at `now` (microseconds since 1970; None: by the clock). Returns how many sessions are done with.

        A session that cannot be erased now is left to the next round. Raises Unavailable.
        """
        now = self._sessions.now() if now is None else now
        found = self._sessions.read_model.queries.deleted()
        self._erased_once &= {deleted.key for deleted in found}
        finished = 0
        for deleted in found:
            is_last = now - deleted.at > LATE_WRITES_US
            if not is_last and deleted.key in self._erased_once:
                continue
            try:
                finished += await self._erase(deleted.key, is_last=is_last)
            except BusError as exc:  # also a commit of a newer version, which will erase the session
                _log.warning("deleted session not erased", session=deleted.key.session, cause=str(exc))
        self._tables.scrub()  # also of sessions that another replica has erased
        return finished

    async def _erase(self, key: Key, *, is_last: bool) -> bool:
        """Erase all that the session has but its last commit, which is or follows its tombstone.

        Returns True if that was the last time. Raises BusError.
        """
        sessions = self._sessions
        last = await sessions.bus.log.head(key, leader=True)
        if last is None or not last.commit.head.deleted:
            return False  # the streams are not those of the tables; the projector will find out
        if last.commit.head.erased:  # by another replica
            sessions.read_model.projection.put(key, last, None)
            return True
        sessions.forget(key)
        self._tables.scrub()
        count = await self._erase_streams(key, last.seq)
        _log.info("deleted session erased", session=key.session, messages=count, for_good=is_last)
        if not is_last:
            self._erased_once.add(key)
            return False
        try:
            await sessions.append(key, last, [ev.SessionErased(id=new_id("sevt"))])
        except Conflict:  # another replica was as quick, or something was appended: the next round will see
            return False
        return True

    async def _erase_streams(self, key: Key, below: int) -> int:
        """Erase the commits below that sequence and all that other streams and buckets have; returns how many."""
        bus = self._sessions.bus
        count = await bus.log.erase(key, below)
        point("session.log_erased")
        count += await bus.inbox.erase(key)
        for match in (subjects.snapshot_key(key), subjects.snapshot_part_keys(key)):
            count += await bus.kv.erase_all(SNAPSHOTS, match)
        return count + await bus.kv.erase_all(PARKED, subjects.parked_keys(key))
