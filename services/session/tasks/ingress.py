"""Takes tasks from their queue and carries them out; what cannot be carried out becomes a dead letter (rule 35)."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from holdfast.bus.errors import BusError, Conflict, Unavailable
from holdfast.bus.jetstream.consumer import StreamDelivery
from holdfast.bus.jetstream.tasks import TASK_HEADER, DeadLetter, NatsTasks, header_bytes
from holdfast.process.tracebacks import places
from holdfast.session.events.disk_space import DiskSpaceCheck
from holdfast.session.tasks.binding_store import BindingStore
from holdfast.session.tasks.dead_letters import DeadLetters, LeftInQueue
from holdfast.session.tasks.gate import Message, out_of_line
from holdfast.session.tasks.gates import Kind
from holdfast.session.tasks.held_back import HeldBack, MustWait
from holdfast.session.tasks.open_places import OpenPlaces
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.rejection import Rejected
from holdfast.session.tasks.task_message import TaskMessage, read_message
from holdfast.session.tasks.task_run import TaskRun
from holdfast.session.tasks.task_session import TaskSessions

CONCURRENT_TASKS: Final = 64
"""Tasks that one replica works on at once. Each keeps its body in memory."""

RACES: Final = 10
"""Times that a delivery begins again because another replica works on the same task, before it is left for later."""

LONGEST_NAK_DELAY_S: Final = 60.0

LONGEST_UNBOUND_DELAY_S: Final = 300.0
"""Longest pause of a task that waits in the queue because too many without a binding have died of late."""

MAX_FAILURES: Final = 10
"""Exceptions that no rule names after which a task is dead: a fault of ours (rule 24)."""

REMEMBERED_FAILURES: Final = 1_000
"""Messages whose failures are counted; the oldest is forgotten first."""

_log = structlog.get_logger()


class TaskIngress:
    """`now` is the clock, in microseconds since 1970."""

    def __init__(
        self,
        tasks: NatsTasks,
        records: TaskRecords,
        bindings: BindingStore,
        sessions: TaskSessions,
        places: OpenPlaces,
        *,
        held_back: HeldBack,
        disk: DiskSpaceCheck,
        now: Callable[[], int],
    ) -> None:
        self._tasks = tasks
        self._dead_letters = DeadLetters(tasks)
        self._disk = disk
        self._records = records
        self._bindings = bindings
        self._sessions = sessions
        self._places = places
        self._gates = places.gates
        self._held_back = held_back
        self._now = now
        self._failures: dict[str, int] = {}
        """By the name of the message."""

    async def run(self, stop: asyncio.Event) -> None:
        """Carry out tasks until `stop` is set."""
        await self._tasks.consume(self.handle, stop, limit=CONCURRENT_TASKS)

    async def handle(self, delivery: StreamDelivery) -> None:
        """Carry out the task, then acknowledge its message; or have it delivered again after a pause."""
        if self._disk.is_full():
            await delivery.nak(LONGEST_NAK_DELAY_S)
            return
        got = delivery.message
        message = read_message(
            got.subject, got.headers, got.data,
            seq=delivery.seq, stored_ns=delivery.stored_ns, task_header=TASK_HEADER,
            header_bytes=header_bytes(got.headers),
        )  # fmt: skip
        kind, place = (message.tenant, message.kind), message.place_in_queue
        if self._gates.known(kind).is_hopeless(place):
            await self._held_back.hold(delivery, MustWait(kind, place))
            return
        self._held_back.forget(kind, place)
        try:
            await self._carry_out(message, self._letter(message, delivery))
            await self._out_of_line(kind, place)
        except MustWait as exc:
            await self._held_back.hold(delivery, exc)
        except LeftInQueue:
            await delivery.nak(_delay_s(delivery.count, LONGEST_UNBOUND_DELAY_S))
        except BusError as exc:
            if not exc.retryable:
                await self._failed(message, delivery, exc)
                return
            _log.warning("task left for later", task=message.task, kind=message.kind, cause=str(exc))
            await delivery.nak(_delay_s(delivery.count))
        except Exception as exc:  # noqa: BLE001  a task must not end the consumer, nor be lost
            await self._failed(message, delivery, exc)
        else:
            self._failures.pop(message.origin, None)
            await delivery.ack()

    async def _carry_out(self, message: TaskMessage, letter: DeadLetter) -> None:
        for _ in range(RACES):
            try:
                await self._run_of(message).run(self._dead_letters, letter)
            except Conflict:
                continue
            return
        raise Unavailable("other replicas work on the task")

    async def _out_of_line(self, kind: Kind, message: Message) -> None:
        """The message will be gone, and may be in line: another one of its task was faster."""
        if message in self._gates.known(kind).line:
            await self._gates.change(kind, lambda gate: (out_of_line(gate, [message]), None))

    async def _failed(self, message: TaskMessage, delivery: StreamDelivery, why: Exception) -> None:
        """Count the failure, and try again later; a task that fails too often is dead."""
        count = self._failures.pop(message.origin, 0) + 1
        _log.error("task failed", task=message.task, kind=message.kind, failures=count, at=places(why))
        if count < MAX_FAILURES:
            self._failures[message.origin] = count
            if len(self._failures) > REMEMBERED_FAILURES:
                del self._failures[next(iter(self._failures))]
            await delivery.nak(_delay_s(count))
            return
        rejected = Rejected("internal", "an error of the service, which is in its log under the id of the task")
        try:
            await self._run_of(message).give_up(self._dead_letters, self._letter(message, delivery), rejected)
        except BusError as exc:
            self._failures[message.origin] = count
            _log.warning("dead task not stored yet", task=message.task, cause=str(exc))
            await delivery.nak(LONGEST_NAK_DELAY_S)
            return
        self._failures.pop(message.origin, None)
        await delivery.ack()

    def _run_of(self, message: TaskMessage) -> TaskRun:
        return TaskRun(message, self._records, self._bindings, self._sessions, self._places)

    def _letter(self, message: TaskMessage, delivery: StreamDelivery) -> DeadLetter:
        return DeadLetter(
            seq=0, tenant=message.tenant, kind=message.kind, task=message.task, reason="", message="",
            died_at=self._now(), headers=delivery.message.headers, data=delivery.message.data,
        )  # fmt: skip


def _delay_s(count: int, longest_s: float = LONGEST_NAK_DELAY_S) -> float:
    """Seconds to wait after that many deliveries or failures."""
    return min(2.0 ** min(count, 10), longest_s)
