"""One delivery of a task: from its message to a session that has got it, or to a dead letter (rules 31 to 35).

Each write is a create, a compare-and-set or an append that is refused if another replica was faster, under ids that are
the same at each try. So any number of deliveries of any messages of the task may run at once, and each may end at any
line: the message is acknowledged last, and the next delivery goes on.
"""

import asyncio
from typing import Final

from msgspec.structs import replace

from holdfast.bus.errors import Conflict, Unavailable
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.tasks import DeadLetter
from holdfast.process.faults import point
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.bindings import Binding
from holdfast.session.tasks.dead_letters import DeadLetters
from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.gate import Place
from holdfast.session.tasks.gates import Kind
from holdfast.session.tasks.held_back import MustWait
from holdfast.session.tasks.open_places import OpenPlaces
from holdfast.session.tasks.plan import Plan, plan, wants, working
from holdfast.session.tasks.record import TaskRecord, next_action
from holdfast.session.tasks.records import DEAD_TTL_S, UNBOUND_TTL_S, TaskRecords
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_ids import TaskIds, ids_of
from holdfast.session.tasks.task_message import TaskMessage, refuse_no_token
from holdfast.session.tasks.task_session import TaskSessions, has_ended

PUT_WITHIN_S: Final = 60.0
"""Seconds after it has looked, or made the record, within which a delivery begins to put the input: half the dedupe
window (rule 33)."""

MAX_ENDED_SESSIONS: Final = 20
"""Sessions that end under one delivery, before it is left to the next one."""

HOUR_S: Final = 3600.0


class TaskRun:
    """`run` raises BusError; Conflict: another replica works on the task too, so begin again."""

    def __init__(
        self,
        message: TaskMessage,
        records: TaskRecords,
        bindings: BindingStore,
        sessions: TaskSessions,
        places: OpenPlaces,
    ) -> None:
        self._message = message
        self._places = places
        self._records = records
        self._bindings = bindings
        self._sessions = sessions
        self._record: TaskRecord | None = None
        self._revision = 0
        self._is_new = False
        """This delivery has opened the task, so nobody can have put its input before."""
        self._since = 0.0
        """Loop time of the last look for the input."""
        self._is_bound = True
        """False once its kind was found to have no binding."""

    async def run(self, letters: DeadLetters, letter: DeadLetter) -> None:
        """Return when the message may be acknowledged. `letter` is what is kept of the task if it dies now.

        Raises LeftInQueue if it may not be kept now, MustWait if its binding has too many open tasks.
        """
        message = self._message
        self._record, self._revision = await self._records.get(message.tenant, message.task)
        action = next_action(self._record, message.stored_ns)
        if action == "ack":
            return
        try:
            found = await self._plan(self._record if action == "go on" else None)
            if found is None:
                return
            if action == "open":
                await self._enter(found)
                await self._open(found)
            await self._drive(found)
        except Rejected as exc:
            await self._bury(letters, letter, exc)
        else:
            await self._finish(letters, found)

    async def give_up(self, letters: DeadLetters, letter: DeadLetter, why: Rejected) -> None:
        """The task is dead, whatever became of it: it may have been carried out. Raises BusError."""
        message = self._message
        self._record, self._revision = await self._records.get(message.tenant, message.task)
        if next_action(self._record, message.stored_ns) != "ack":
            await self._bury(letters, letter, why)

    async def _plan(self, opened: TaskRecord | None) -> Plan | None:
        """What the task becomes; None if its binding does not want it. Raises Rejected.

        The version of the binding is the newest one, or that of the record once the task is open.
        """
        message, event = self._message, self._message.event
        if opened and isinstance(event, TaskEvent):
            return plan(await self._bindings.get(message.tenant, message.kind, opened.binding), event)
        binding = working(await self._bindings.newest(message.tenant, message.kind))
        self._is_bound = isinstance(binding, Binding)
        refuse_no_token(message)
        if isinstance(event, Rejected):
            raise event
        if isinstance(binding, Rejected):
            raise binding
        return plan(binding, event) if wants(binding, event) else None

    # --- the gate ----------------------------------------------------------------------------------------------------

    async def _enter(self, found: Plan) -> None:
        """Take a place at the gate of the binding, before the record is open (rule 38). Raises MustWait."""
        message, limit = self._message, found.binding.config.max_open
        entered = await self._places.enter(self._kind, self._wanted(), limit=limit)
        if entered.place is None:
            raise MustWait(self._kind, message.place_in_queue, is_in_line=entered.is_in_line)
        point("task.let_in")

    def _wanted(self) -> Place:
        """The place that this delivery takes, or has taken; the one of another message of the task is not it."""
        return Place(self._message.place_in_queue, self._sessions.now())

    @property
    def _kind(self) -> Kind:
        return self._message.tenant, self._message.kind

    # --- the record --------------------------------------------------------------------------------------------------

    async def _open(self, found: Plan) -> None:
        message, before = self._message, self._record
        if before and before.session:  # it died when it was open: its input may be stored
            await self._write(replace(before, state="open", binding=found.binding.version, reason=None, message=""))
            return
        stored_at = message.stored_ns // 1000
        ids = ids_of(message.task, 1, cell=self._sessions.cell, stored_at=stored_at)
        session = ids.session
        if found.key:
            session = await self._records.session_for(message.tenant, message.kind, found.key, session)
            point("task.key_made")
        record = TaskRecord(
            kind=message.kind, state="open", stored_at=stored_at, session=session, attempt=1,
            binding=found.binding.version, key=found.key,
            died_ns=before.died_ns if before else 0, letter=before.letter if before else 0,
        )  # fmt: skip
        self._since = asyncio.get_running_loop().time()
        await self._write(record)
        self._is_new = True
        point("task.recorded")

    async def _write(self, record: TaskRecord, *, ttl: float = 0.0) -> None:
        """Raises Conflict if the record is not as this delivery knows it."""
        message = self._message
        self._revision = await self._records.write(message.tenant, message.task, record, self._revision, ttl=ttl)
        self._record = record

    # --- the session -------------------------------------------------------------------------------------------------

    async def _drive(self, found: Plan) -> None:
        """Return when a session has got the task. Raises Rejected."""
        for _ in range(MAX_ENDED_SESSIONS):
            record = self._opened()
            ids = ids_of(self._message.task, record.attempt, cell=self._sessions.cell, stored_at=record.stored_at)
            self._places.expect(Key(self._message.tenant, record.session), self._kind, self._message.task)
            if await self._try(Key(self._message.tenant, record.session), found, ids):
                return
            await self._next_attempt(record)
        raise Unavailable("the sessions of this task end as fast as they are made")

    async def _try(self, key: Key, found: Plan, ids: TaskIds) -> bool:
        """Put the task into that session. False if the session has ended without it."""
        if not self._is_new:
            self._since = asyncio.get_running_loop().time()
            if await self._sessions.has_got(key, ids):
                return True
        self._is_new = False
        head = await self._sessions.head(key)
        if head is None:
            await self._sessions.create(key, found, ids, self._message.task)
        elif has_ended(head):
            return await self._sessions.has_got(key, ids)  # perhaps taken since the look, and before it ended
        if asyncio.get_running_loop().time() - self._since > PUT_WITHIN_S:
            raise Unavailable("too slow: somebody else may have put the input meanwhile")
        await self._sessions.put(key, found, ids)
        head = await self._sessions.head(key)
        return not head or not has_ended(head) or await self._sessions.has_got(key, ids)

    async def _next_attempt(self, record: TaskRecord) -> None:
        """Send the task to another session, as the one of the record has ended."""
        message, attempt = self._message, record.attempt + 1
        ids = ids_of(message.task, attempt, cell=self._sessions.cell, stored_at=record.stored_at)
        session = ids.session
        if record.key:
            session = await self._records.session_for(
                message.tenant, message.kind, record.key, session, ended=record.session
            )
        await self._write(replace(record, session=session, attempt=attempt))

    def _opened(self) -> TaskRecord:
        assert self._record is not None
        return self._record

    # --- the end -----------------------------------------------------------------------------------------------------

    async def _finish(self, letters: DeadLetters, found: Plan) -> None:
        record = self._opened()
        if record.letter:  # before the record is done: then nobody would look for it any more
            await letters.erase(record.letter)
        done = TaskRecord(
            kind=record.kind, state="done", session=record.session, attempt=record.attempt, binding=record.binding,
            stored_at=record.stored_at,
        )  # fmt: skip
        await self._write(done, ttl=found.binding.config.remember_hours * HOUR_S)
        point("task.done")
        self._places.done(Key(self._message.tenant, record.session))

    async def _bury(self, letters: DeadLetters, letter: DeadLetter, why: Rejected) -> None:
        """Keep the bytes, then say in the record that the task is dead."""
        before = self._record or TaskRecord(kind=self._message.kind, state="dead")
        is_bound = self._is_bound or bool(before.session)
        seq = await letters.bury(replace(letter, reason=why.reason, message=why.message, bound=is_bound))
        point("task.buried")
        dead = replace(
            before, state="dead", died_ns=max(before.died_ns, self._message.stored_ns), letter=seq,
            reason=why.reason, message=why.message,
        )  # fmt: skip
        try:
            await self._write(dead, ttl=DEAD_TTL_S if is_bound else UNBOUND_TTL_S)
        except Conflict:
            await letters.erase(seq)
            raise
        point("task.dead")
        await self._places.leave(self._kind, self._wanted())
        if before.letter:
            await letters.erase(before.letter)
