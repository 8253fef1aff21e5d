"""`/v1/tasks`: tasks that could not be carried out, and what is known of any task."""

import asyncio
from typing import Literal

import msgspec

from holdfast.bus.jetstream.tasks import DeadLetter, NatsTasks
from holdfast.session.http import pagination
from holdfast.session.http.errors import conflict, not_found
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import TimeText, text
from holdfast.session.tasks.record import TaskRecord
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.unrecorded import Unrecorded, UnrecordedTasks


class TaskObject(msgspec.Struct, frozen=True, kw_only=True):
    """A task. `waiting`: its binding has as many open tasks as it allows, and it has no session yet.

    `reason`, `message` and `died_at` are those of its last death, and null unless it is dead.
    """

    type: Literal["task"]
    id: str
    kind: str
    state: Literal["waiting", "open", "done", "dead"]
    session_id: str | None
    reason: str | None
    message: str | None
    died_at: TimeText | None


class TaskHandlers:
    def __init__(self, records: TaskRecords, unrecorded: UnrecordedTasks, tasks: NatsTasks) -> None:
        self._records = records
        self._unrecorded = unrecorded
        self._tasks = tasks

    async def list_dead(self, call: Call) -> Page[TaskObject]:
        """List the tasks that could not be carried out, the one that was given up first at first."""
        query: PageQuery = call.query
        bound = ["dead tasks", call.tenant]
        after = pagination.position_of(query, bound, int) or 0
        letters, more = await self._tasks.dead(call.tenant, after, limit=query.limit)
        records = await asyncio.gather(*(self._records.get(call.tenant, letter.task) for letter in letters))
        found = [
            _to_api(letter.task, record, letter)
            for letter, (record, _) in zip(letters, records, strict=True)
            if record and record.state == "dead" and record.letter == letter.seq  # else it was carried out since
        ]
        return pagination.page(found, letters[-1].seq if more and letters else None, bound)

    async def retrieve(self, call: Call) -> TaskObject:
        """Retrieve a task: waiting for a place, open, done for as long as its binding remembers it, or dead.

        A task that waits behind 200 others of its kind may be unknown to a replica that did not leave it there: 404.
        """
        record, _ = await self._records.get(call.tenant, call.id("task"))
        if (record is None or record.state == "dead") and (
            found := self._unrecorded.find(call.tenant, call.id("task"))
        ):
            return _without_record(call.id("task"), found)
        record, letter = await self._dead_or_alive(call)
        return _to_api(call.id("task"), record, letter)

    async def resend(self, call: Call) -> TaskObject:
        """Send a dead task once more, as it was published, under its binding as it is now. 409 unless it is dead."""
        record, letter = await self._dead_or_alive(call)
        if record.state != "dead":
            raise conflict(f"the task is {record.state}; only a dead one can be sent again")
        if letter is None:
            raise conflict("what was published is not kept any more; have the task published again")
        await self._tasks.publish_again(letter)
        return _to_api(call.id("task"), record, letter)

    async def _dead_or_alive(self, call: Call) -> tuple[TaskRecord, DeadLetter | None]:
        """The record, and the letter of a dead task. Raises ApiError 404."""
        record, _ = await self._records.get(call.tenant, call.id("task"))
        if record is None and (found := self._unrecorded.find(call.tenant, call.id("task"))):
            raise conflict(f"the task is {found.state}; only a dead one can be sent again")
        if record is None:
            raise not_found("task")
        is_dead = record.state == "dead" and record.letter
        letter = await self._tasks.dead_letter(record.letter) if is_dead else None
        if letter and (letter.tenant, letter.task) != (call.tenant, call.id("task")):
            letter = None  # of a stream that was made anew since
        return record, letter


def _to_api(task_id: str, record: TaskRecord, letter: DeadLetter | None) -> TaskObject:
    is_dead = record.state == "dead"
    return TaskObject(
        type="task",
        id=task_id,
        kind=record.kind,
        state=record.state,
        session_id=record.session or None,
        reason=record.reason if is_dead else None,
        message=record.message if is_dead else None,
        died_at=text(letter.died_at) if is_dead and letter else None,
    )


def _without_record(task_id: str, found: Unrecorded) -> TaskObject:
    return TaskObject(
        type="task", id=task_id, kind=found.kind, state=found.state, session_id=None, reason=None, message=None,
        died_at=None,
    )  # fmt: skip


def routes(records: TaskRecords, unrecorded: UnrecordedTasks, tasks: NatsTasks) -> list[Route]:
    handlers = TaskHandlers(records, unrecorded, tasks)
    one = "/v1/tasks/{task}"
    return [
        Route(method="GET", path="/v1/tasks", handle=handlers.list_dead, query=PageQuery, answer=Page[TaskObject]),
        Route(method="GET", path=one, handle=handlers.retrieve, answer=TaskObject),
        Route(method="POST", path=f"{one}/resend", handle=handlers.resend, answer=TaskObject),
    ]
