"""Gives places at the gates free: at once when a session of this process's tasks rests, and by a look at all places
each minute, for processes that died (rule 38).
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.tasks import NatsTasks
from holdfast.bus.times import SECOND_US
from holdfast.session.tasks.gate import Entered, Gate, Message, Place, enter, leave, out_of_line
from holdfast.session.tasks.gates import Gates, Kind
from holdfast.session.tasks.record import next_action
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.task_ids import ids_of
from holdfast.session.tasks.task_session import TaskSessions

SWEEP_INTERVAL_S: Final = 60.0

SWEEP_AGE_US: Final = 60 * SECOND_US
"""Age from which a place is looked at by everybody. Before that its replica does it."""

SWEPT_IN_LINE: Final = 10
"""Waiting messages of a gate that a round looks for, from the first: they may be large, and only the first ones are in
the way of others."""

_log = structlog.get_logger()


class _Owed(msgspec.Struct, frozen=True):
    """A place of a task that this process has put into a session."""

    kind: Kind
    place: Place


class OpenPlaces:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(
        self, gates: Gates, records: TaskRecords, sessions: TaskSessions, tasks: NatsTasks, now: Callable[[], int]
    ) -> None:
        self.gates = gates
        self._records = records
        self._sessions = sessions
        self._tasks = tasks
        self._now = now
        self._owed: dict[Key, set[_Owed]] = {}
        self._rested: asyncio.Queue[Key] = asyncio.Queue()
        self._early: set[Key] = set()
        """Sessions that rested, perhaps before the record of their task was done."""

    async def enter(self, kind: Kind, place: Place, *, limit: int) -> Entered:
        """Take that place for its task, unless others have all that the binding allows. Raises BusError."""
        self.gates.set_limit(kind, limit)
        return await self.gates.change(kind, lambda gate: enter(gate, place, limit=limit))

    def expect(self, key: Key, kind: Kind, task: str) -> None:
        """The task is about to be put into that session. Its place is free once the session rests."""
        for place in self.gates.known(kind).open:
            if place.task == task:
                self._owed.setdefault(key, set()).add(_Owed(kind, place))

    def rests(self, key: Key) -> None:
        """The log says that the session rests; called for every session."""
        if key in self._owed:
            self._rested.put_nowait(key)

    def done(self, key: Key) -> None:
        """The record of a task in that session is done."""
        if key in self._early:
            self._early.discard(key)
            self.rests(key)

    async def leave(self, kind: Kind, place: Place) -> None:
        """The task is dead, or its turn has ended: others may have its place. Raises BusError."""
        if not self.gates.known(kind).has(place.task):
            return  # as most that die: they were never let in; if this process knows too little, the sweep finds it
        await self.gates.change(kind, lambda gate: (leave(gate, [place]), None))

    async def free(self) -> None:
        """Give free the places of sessions that rest, until cancelled."""
        while True:
            key = await self._rested.get()
            for owed in list(self._owed.get(key, ())):
                self._early.add(key)  # before the look: the record may be done while it is read
                try:
                    if not await self._has_ended(owed.kind, owed.place):
                        continue
                    await self.leave(owed.kind, owed.place)
                except BusError as exc:
                    _log.warning("place of a task left to the sweep", task=owed.place.task, cause=str(exc))
                self._forget(key, owed)

    def _forget(self, key: Key, owed: _Owed) -> None:
        left = self._owed.get(key, set())
        left.discard(owed)
        if not left:
            self._owed.pop(key, None)
            self._early.discard(key)

    # --- all places --------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Make a round each SWEEP_INTERVAL_S until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            try:
                await self.sweep_once()
            except BusError as exc:
                _log.warning("sweep of open tasks aborted", cause=str(exc))

    async def sweep_once(self) -> int:
        """Give free what nobody would, at all gates. Returns how many places and waiting messages it were."""
        freed = 0
        for kind, gate in (await self.gates.all()).items():
            places = [place for place in gate.open if await self._is_over(kind, place)]
            messages = [message for message in gate.line[:SWEPT_IN_LINE] if await self._is_gone(message)]
            if places or messages:
                await self.gates.change(kind, lambda gate: (_without(gate, places, messages), None))  # noqa: B023
                freed += len(places) + len(messages)
        for key, of_key in list(self._owed.items()):
            for owed in [owed for owed in of_key if owed.place not in self.gates.known(owed.kind).open]:
                self._forget(key, owed)  # somebody else has given it free
        return freed

    async def _is_over(self, kind: Kind, place: Place) -> bool:
        return self._now() - place.since > SWEEP_AGE_US and await self._has_ended(kind, place)

    async def _has_ended(self, kind: Kind, place: Place) -> bool:
        """Whether the task that was let in for that message needs its place no more.

        Before its record is done the message obliges somebody to go on, unless it is gone; that is so too if the task
        died by an older message, as this one opens it again. The message is looked for first: what becomes of the
        record between the two looks is seen then.
        """
        tenant, _ = kind
        record, _ = await self._records.get(tenant, place.task)
        if next_action(record, place.message.stored_ns) != "ack":
            if not await self._is_gone(place.message):
                return False
            record, _ = await self._records.get(tenant, place.task)
        if record is None or record.state != "done":
            return True
        key = Key(tenant, record.session)
        ids = ids_of(place.task, record.attempt, cell=key.cell, stored_at=record.stored_at)
        return await self._sessions.rests(key, ids)

    async def _is_gone(self, message: Message) -> bool:
        return not await self._tasks.waits(message.seq)


def _without(gate: Gate, places: list[Place], messages: list[Message]) -> Gate:
    return out_of_line(leave(gate, places), messages)
