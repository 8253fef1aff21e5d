"""The way of a result into the session's inbox, and what becomes of calls whose worker died (rules 14 and 17)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError, Refused, TooLarge
from holdfast.bus.inputs import CallResult
from holdfast.process import faults
from holdfast.sandbox.drivers.sandbox import Outcome
from holdfast.sandbox.placement import Record, record_of
from holdfast.sandbox.tools import error, lost

log = structlog.get_logger()

AGAIN: Final = 0.25
"""Seconds between two attempts to reach the bus."""

BUCKET: Final = "sbx"

UNHURRIED: Final = 0.01
"""Seconds before the record of a finished call is deleted: what follows from the result goes first."""


async def deliver(bus: Bus, record: Record, outcome: Outcome, *, is_lost: bool) -> None:
    """Publish the result, wait until it is stored, delete the record (rule 14). Goes on until both are done."""
    result = CallResult(
        id=record.call,
        generation=record.generation,
        content=outcome.content,
        is_error=outcome.is_error,
        lost=is_lost,
    )
    try:
        await persistently(lambda: bus.inbox.put(record.key, result), (TooLarge, Refused))
    except (TooLarge, Refused) as exc:
        log.warning("a result could not be stored", call=record.call, code=exc.code)
        said = error("the result of this call was too large to be stored")
        smaller = CallResult(id=record.call, generation=record.generation, content=said.content, is_error=True)
        await persistently(lambda: bus.inbox.put(record.key, smaller))
    faults.point("worker.published")
    await asyncio.sleep(UNHURRIED)
    await forget(bus, record.call)
    faults.point("worker.forgotten")


async def forget(bus: Bus, call: str) -> None:
    """Delete the record of a call. Goes on until it is done."""
    await persistently(lambda: bus.kv.delete(BUCKET, subjects.record_key(call)))


async def persistently(action: Callable[[], Awaitable[object]], final: tuple[type[BusError], ...] = ()) -> None:
    """Repeat until the bus has done it; what is `final` is raised. Ends with the task it runs in.

    All that is repeated here may be done twice: results are deduplicated by the call's id, deletions change nothing.
    """
    while True:
        try:
            await action()
        except final:
            raise
        except BusError as exc:
            log.info("the bus will be asked again", code=exc.code)
            await asyncio.sleep(AGAIN)
        else:
            return


async def settle(bus: Bus, myself: str) -> int:
    """Publish the lost result of every recorded call whose worker is not registered, and count them (rule 17).

    Raises BusError; may be repeated, also by several workers at once.
    """
    count = 0
    for entry in await bus.kv.list(BUCKET, subjects.RECORDS):
        try:
            record = record_of(entry)
        except Refused:
            log.warning("a record cannot be read", key=entry.key)
            continue
        if record.worker == myself or await bus.kv.get(BUCKET, subjects.worker_key(record.worker)):
            continue
        faults.point("worker.lost_found")
        content = [{"type": "text", "text": lost("the worker that ran it died")}]
        result = CallResult(
            id=record.call, generation=record.generation, content=content, is_error=True, lost=True
        )  # fmt: skip
        await bus.inbox.put(record.key, result)
        faults.point("worker.lost_published")
        await bus.kv.delete(BUCKET, entry.key)
        count += 1
    return count


def encode(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value)
