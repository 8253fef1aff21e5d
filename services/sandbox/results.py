"""What hands put into a session's inbox: results of calls, and the notice that a worker is dead (rules 14 and 17)."""

from functools import partial

import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus, Entry
from holdfast.bus.errors import BusError, Conflict, Newer, Refused, TooLarge
from holdfast.bus.ids import Key
from holdfast.bus.inputs import CallResult, HandGone
from holdfast.process import faults
from holdfast.process.retry import Errors, retrying
from holdfast.sandbox.placement import BUCKET, encode, placement_of

log = structlog.get_logger()


async def deliver(bus: Bus, key: Key, result: CallResult) -> None:
    """Put the result into the inbox and wait until it is stored (rule 14).

    Repeated until it is done. That is safe: the inbox deduplicates results by the id of their call. A result that is
    too large for the inbox is replaced by an error result.
    """
    try:
        await _store(bus, key, result, unless=(TooLarge, Refused))
    except (TooLarge, Refused) as exc:
        log.warning("a result could not be stored", call=result.id, code=exc.code)
        content = [{"type": "text", "text": "the result of this call was too large to be stored"}]
        smaller = CallResult(
            id=result.id, generation=result.generation, content=content, is_error=True
        )  # fmt: skip
        await _store(bus, key, smaller)
    faults.point("worker.result_stored")


async def _store(bus: Bus, key: Key, result: CallResult, *, unless: Errors = ()) -> None:
    put = partial(bus.inbox.put, key, result)
    await retrying(put, on=BusError, unless=unless, what="storing a result", call=result.id)


async def report_gone(bus: Bus, key: Key, hand: str, generation: str) -> None:
    """Tell the session that the generation is over, before its placement names another one or none (rule 17).

    The worker of the generation must be dead, or have ended it. Raises BusError; may be repeated.
    """
    gone = HandGone(id=f"{generation}_gone", hand=hand, generation=generation)
    await bus.inbox.put(key, gone)
    faults.point("worker.hand_gone_stored")


async def report_dead_workers(bus: Bus, cell: str, worker_id: str, unreadable: set[str]) -> int:
    """Report every placed hand whose worker is not registered, and empty its placement; returns how many (rule 17).

    Hands of `worker_id`, which is the caller, are left out. Raises BusError; may be repeated, also by several workers
    at once. A placement that cannot be read stays, because a newer version wrote it. Its key is put into `unreadable`,
    so that it is logged once.
    """
    count = 0
    registered: dict[str, bool] = {}
    """One read for each worker: a registration that ends meanwhile starts the next sweep."""
    for entry in await bus.kv.list(BUCKET, subjects.placement_keys(cell)):
        try:
            placed, (key, hand) = placement_of(entry.value), subjects.placed(entry.key)
        except (Newer, ValueError) as exc:
            if entry.key not in unreadable:
                log.warning("a placement cannot be read", placement=entry.key, cause=str(exc))
                unreadable.add(entry.key)
            continue
        if not placed.generation or placed.worker == worker_id:
            continue
        if placed.worker not in registered:
            registered[placed.worker] = await is_registered(bus, cell, placed.worker)
        if registered[placed.worker]:
            continue
        faults.point("worker.dead_hand_found")
        await report_gone(bus, key, hand, placed.generation)
        await empty_placement(bus, entry)
        count += 1
    return count


async def is_registered(bus: Bus, cell: str, worker_id: str) -> bool:
    """Whether the registration of that worker has not expired. Raises BusError."""
    return await bus.kv.get(BUCKET, subjects.worker_key(cell, worker_id)) is not None


async def empty_placement(bus: Bus, entry: Entry) -> None:
    """Empty the placement unless it was changed since it was read; it still says where the files are. Raises BusError.

    Raises Newer if a newer version wrote it.
    """
    try:
        await bus.kv.update(BUCKET, entry.key, encode(placement_of(entry.value).emptied()), entry.revision)
    except Conflict:
        log.info("a placement was changed meanwhile", key=entry.key)
