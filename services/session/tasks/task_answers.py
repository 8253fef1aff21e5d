"""Waits for what becomes of a task: for the session that gets it, and for the end of its turn there."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, Final, TypeVar

from holdfast.bus import events as ev
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.session.log.repository import SessionRepository
from holdfast.session.tasks.record import TaskRecord
from holdfast.session.tasks.records import TaskRecords
from holdfast.session.tasks.task_ids import ids_of
from holdfast.session.tasks.task_result import TaskResult, result_of

MAX_WAITS: Final = 500
"""Senders that one replica lets wait at once; further ones are answered without a wait."""

FIRST_PAUSE_S: Final = 0.01
LONGEST_PAUSE_S: Final = 1.0
"""Pauses between two looks at a record that another replica may write."""

DELETED: Final = "deleted"
"""The `stop_reason` of a session that was deleted before its turn ended."""

T = TypeVar("T")


class TaskAnswers:
    """`stopping` ends all waits."""

    def __init__(self, records: TaskRecords, sessions: SessionRepository, stopping: asyncio.Event) -> None:
        self._records = records
        self._sessions = sessions
        self._stopping = stopping
        self._waits = 0

    async def before(self, tenant: str, task: str) -> tuple[TaskRecord | None, int]:
        """The record of the task and its revision, before it is stored once more. Raises BusError."""
        return await self._records.get(tenant, task)

    async def after(
        self, tenant: str, kind: str, task: str, known: tuple[TaskRecord | None, int], *, start_s: float, end_s: float
    ) -> TaskResult:
        """What has become of the task after it was stored.

        Waits `start_s` seconds at most until a session has got it or it is dead, then until the end of the turn, and
        `end_s` seconds in all. `known` is what `before` said.
        """
        deadline = asyncio.get_running_loop().time() + max(start_s, end_s)
        record = known[0] if known[0] and known[0].state != "dead" else None
        if max(start_s, end_s) <= 0 or self._waits >= MAX_WAITS:
            return result_of(task, kind, record)
        self._waits += 1
        try:
            found = await self._within(max(start_s, end_s), self._settled(tenant, task, known[1]))
            record = found or record
            if not found or found.state == "dead" or not end_s:
                return result_of(task, kind, record)
            left = deadline - asyncio.get_running_loop().time()
            ended = await self._within(left, self._turn(tenant, task, found))
            stop_reason, text = ended or (None, None)
            return result_of(task, kind, found, stop_reason=stop_reason, text=text)
        finally:
            self._waits -= 1

    async def _settled(self, tenant: str, task: str, revision: int) -> TaskRecord:
        """The record once it is done, or dead after `revision`."""
        pause_s = FIRST_PAUSE_S
        while True:
            record, now = await self._records.get(tenant, task)
            if record and (record.state == "done" or (record.state == "dead" and now != revision)):
                return record
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)

    async def _turn(self, tenant: str, task: str, record: TaskRecord) -> tuple[str, str | None]:
        """Why the session rested after it took the task, and the text of the last message until then."""
        key = Key(tenant, record.session)
        event_id = ids_of(task, record.attempt, cell=key.cell, stored_at=record.stored_at).event
        taken, text = False, None
        async with aclosing(self._sessions.bus.log.tail(key, 0)) as commits:
            async for stored in commits:
                for event in stored.commit.events if stored else ():
                    match event:
                        case ev.UserMessage(id=found) if found == event_id:
                            taken = True
                        case ev.AgentMessage() if taken:
                            text = _text(event)
                        case ev.SessionStatusIdle() if taken:
                            return event.stop_reason.type, text
                        case ev.SessionDeleted():
                            return DELETED, None
                        case _:
                            continue
        raise AssertionError("the tail of a log has no end")

    async def _within(self, seconds: float, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work`; None if it took longer, this process stops, or the bus does not answer."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stop}, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        except BusError:
            return None
        finally:
            task.cancel()
            stop.cancel()


def _text(message: ev.AgentMessage) -> str:
    return "".join(str(block.get("text", "")) for block in message.content if block.get("type") == "text")
