"""Results on their way into a session's inbox, and the calls of dead workers (rules 14 and 17)."""

import asyncio
from functools import partial
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError, Damaged, Newer, Refused, TooLarge
from holdfast.bus.inputs import CallResult
from holdfast.process import faults
from holdfast.process.retry import Errors, retrying
from holdfast.sandbox.drivers.sandbox import Outcome
from holdfast.sandbox.placement import BUCKET, CallRecord, call_record_of
from holdfast.sandbox.tools import error, lost

log = structlog.get_logger()

RECORD_DELETE_DELAY_S: Final = 0.01
"""Seconds between storing a result and deleting the record of its call, so that the deletion does not compete with the
harness that the result has just woken."""


async def deliver(bus: Bus, record: CallRecord, outcome: Outcome, *, is_lost: bool) -> None:
    """Put the result into the inbox, wait until it is stored, then delete the record (rule 14).

    Both are repeated until they are done. That is safe: the inbox deduplicates results by the id of their call, and a
    second deletion changes nothing. A result that is too large for the inbox is replaced by an error result.
    """
    result = CallResult(
        id=record.call,
        generation=record.generation,
        content=outcome.content,
        is_error=outcome.is_error,
        lost=is_lost,
    )
    try:
        await _store(bus, record, result, unless=(TooLarge, Refused))
    except (TooLarge, Refused) as exc:
        log.warning("a result could not be stored", call=record.call, code=exc.code)
        replacement = error("the result of this call was too large to be stored")
        smaller = CallResult(id=record.call, generation=record.generation, content=replacement.content, is_error=True)
        await _store(bus, record, smaller)
    faults.point("worker.result_stored")
    await asyncio.sleep(RECORD_DELETE_DELAY_S)
    await delete_record(bus, record)
    faults.point("worker.record_deleted")


async def _store(bus: Bus, record: CallRecord, result: CallResult, *, unless: Errors = ()) -> None:
    put = partial(bus.inbox.put, record.key, result)
    await retrying(put, on=BusError, unless=unless, what="storing a result", call=record.call)


async def delete_record(bus: Bus, record: CallRecord) -> None:
    """Delete the record of a call. Repeated until it is done."""
    delete = partial(bus.kv.delete, BUCKET, subjects.record_key(record.key.cell, record.call))
    await retrying(delete, on=BusError, what="deleting the record of a call", call=record.call)


async def close_lost_calls(bus: Bus, cell: str, worker_id: str, unreadable: set[str]) -> int:
    """Publish the lost result of every recorded call whose worker is not registered, and count them (rule 17).

    Calls of `worker_id`, which is the caller, are left out. Raises BusError; may be repeated, also by several workers
    at once. A record that cannot be read stays: a newer version wrote it, or an operator has to look. Its key is put
    into `unreadable`, so that it is logged once.
    """
    count = 0
    for entry in await bus.kv.list(BUCKET, subjects.record_keys(cell)):
        try:
            record = call_record_of(entry.value)
        except (Newer, Damaged) as exc:
            if entry.key not in unreadable:
                log.warning("a call record cannot be read", record=entry.key, cause=str(exc))
                unreadable.add(entry.key)
            continue
        if record.worker == worker_id or await bus.kv.get(BUCKET, subjects.worker_key(cell, record.worker)):
            continue
        faults.point("worker.lost_call_found")
        content = [{"type": "text", "text": lost(record.hand, "the worker that ran it died", record.kept)}]
        result = CallResult(
            id=record.call, generation=record.generation, content=content, is_error=True, lost=True
        )  # fmt: skip
        await bus.inbox.put(record.key, result)
        faults.point("worker.lost_result_stored")
        await bus.kv.delete(BUCKET, entry.key)
        count += 1
    return count
