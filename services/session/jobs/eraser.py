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
from holdfast.bus.api import PublicEvents
from holdfast.bus.errors import BusError, Unavailable
from holdfast.bus.ids import Key, new_id
from holdfast.bus.parked import PARKED
from holdfast.bus.streams import DEDUPLICATION_WINDOW_S, SNAPSHOTS
from holdfast.bus.times import SECOND_US
from holdfast.process import disk
from holdfast.process.backoff import Backoff
from holdfast.process.faults import point
from holdfast.process.retry import Attempts
from holdfast.session.log.repository import SessionRepository

ROUND_INTERVAL_S: Final = 60.0
"""Seconds between two rounds; a deletion by this process starts one at once."""

PASS_AGES_US: Final = (0, 2 * DEDUPLICATION_WINDOW_S * SECOND_US, 2 * 3600 * SECOND_US)
"""Microseconds since its deletion at which a session is erased. At the second everybody who began to write before it
has given up (rule 19). At the last each worker has looked for deleted sessions, and no tool of one runs any more."""

ROOM_BYTES: Final = 32_000_000
"""Free bytes on the disk of NATS without which nothing is erased. It writes a file of up to 8 MiB anew for each
message; if that fails, it refuses every write to the stream until it is restarted."""

PUBLISH_TIMEOUT_S: Final = 5.0
"""Seconds to wait until the tombstone of a session is among the public events; then that is left to the next round."""

_PUBLIC_BACKOFF: Final = Backoff(first_s=0.02, longest_s=1.0)

MAX_SESSIONS_AT_ONCE: Final = 8
"""Sessions that are erased side by side, so that a short one need not wait for a long one."""

_log = structlog.get_logger()


class Eraser:
    """Erases each deleted session at PASS_AGES_US, so until nobody adds to it any more. Then the log says so.

    The replica that deleted a session erases it at once, the others in their next round: by then there is little left,
    unless the first one died. Two that erase side by side take twice the time of the server (`EraseBudget`).
    """

    def __init__(self, sessions: SessionRepository, disk_folder: str = "", public: PublicEvents | None = None) -> None:
        """`disk_folder` as in SessionSettings. `public`: where public events are erased too."""
        self._sessions = sessions
        self._public = public
        self._tables = sessions.read_model.tables
        self._disk_folder = disk_folder
        self._slots = asyncio.Semaphore(MAX_SESSIONS_AT_ONCE)
        self._running: set[Key] = set()
        self._passes: dict[Key, int] = {}
        """How often this process has erased a session that may have got something since."""
        self._unpublished: set[Key] = set()
        """Sessions for which a publisher was waited for in vain: others need not wait for them again."""

    async def run(self) -> None:
        """Make rounds until cancelled. The first one begins when the read model knows all that is deleted.

        A round does not wait for the sessions that it begins with: a long one takes a while.
        """
        await self._wait_for(self._tables.caught_up)
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._sessions.deleted.clear()
                try:
                    due = self._due(self._sessions.now())
                    self._tables.scrub()  # also of sessions that another replica has erased
                except BusError as exc:
                    _log.warning("deleted sessions are left to the next round", error=str(exc))
                else:
                    for key, number in due.items():
                        self._running.add(key)
                        tasks.create_task(self._pass(key, number))
                await self._wait_for(self._sessions.deleted)

    @staticmethod
    async def _wait_for(event: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_INTERVAL_S):
                await event.wait()

    async def make_round(self, *, now: int) -> int:
        """Erase what is due at `now` (microseconds since 1970). Returns how many sessions are done with.

        A session that cannot be erased now is left to the next round. Raises Unavailable.
        """
        return sum(await asyncio.gather(*(self._pass(key, number) for key, number in self._due(now).items())))

    def _due(self, now: int) -> dict[Key, int]:
        """The sessions to erase now, the oldest deletion first, with the number of the pass that is due.

        The first pass is due at once, also if another clock that is ahead has timed the deletion.
        """
        found = self._sessions.read_model.queries.deleted()
        self._unpublished.intersection_update(one.key for one in found)
        self._passes = {one.key: self._passes[one.key] for one in found if one.key in self._passes}
        due = {one.key: max(1, sum(now - one.at >= age for age in PASS_AGES_US)) for one in found}
        return {
            key: number for key, number in due.items() if number > self._passes.get(key, 0) and key not in self._running
        }

    async def _pass(self, key: Key, number: int) -> bool:
        """Erase the session for that time. Returns True if it is done with."""
        try:
            async with self._slots:
                if not self._has_room():
                    _log.warning("deleted session not erased: the disk is full", session=key.session)
                    return False
                finished = await self._erase(key, is_last=number == len(PASS_AGES_US))
            self._passes[key] = number
        except BusError as exc:  # also a commit of a newer version, which will erase the session
            _log.warning("deleted session not erased", session=key.session, cause=str(exc))
            return False
        else:
            return finished
        finally:
            self._running.discard(key)

    def _has_room(self) -> bool:
        return not self._disk_folder or disk.space(self._disk_folder).free >= ROOM_BYTES

    async def _erase(self, key: Key, *, is_last: bool) -> bool:
        """Erase all that the session has but its last commit, which is or follows its tombstone.

        With `is_last` the log says so then. Returns True if it does. Raises BusError.
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
        await self._erase_public(key, last.seq)
        _log.info("deleted session erased", session=key.session, messages=count, for_good=is_last)
        if is_last:  # Conflict: another replica was as quick, or something was appended; the next round will see
            await sessions.append(key, last, [ev.SessionErased(id=new_id("sevt"))])
        return is_last

    async def _erase_public(self, key: Key, tombstone: int) -> None:
        """Erase the public events; `tombstone` is its sequence. Raises Unavailable while they are not all published.

        A publisher that is alive needs milliseconds for what is left of the session.
        """
        if self._public is None:
            return
        epoch = await self._sessions.bus.inbox.stream_epoch(key.cell)
        timeout_s = 0.0 if key in self._unpublished else PUBLISH_TIMEOUT_S
        async for _ in Attempts(_PUBLIC_BACKOFF, timeout_s=timeout_s):
            if await self._public.erase(key, epoch=epoch, tombstone=tombstone):
                self._unpublished.discard(key)
                return
        self._unpublished.add(key)
        raise Unavailable("the session's last events are not published yet")

    async def _erase_streams(self, key: Key, below: int) -> int:
        """Erase the commits below that sequence and all that other streams and buckets have; returns how many."""
        bus = self._sessions.bus
        count = await bus.log.erase(key, below)
        point("session.log_erased")
        count += await bus.inbox.erase(key)
        for match in (subjects.snapshot_key(key), subjects.snapshot_part_keys(key)):
            count += await bus.kv.erase_all(SNAPSHOTS, match)
        return count + await bus.kv.erase_all(PARKED, subjects.parked_keys(key))
