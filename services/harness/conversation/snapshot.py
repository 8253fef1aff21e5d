"""Reads the contexts of a session from the bus, and writes their snapshot."""

from typing import Final

import structlog

from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError, Unavailable
from holdfast.bus.ids import Key
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.conversation.snapshot_parts import MAX_SNAPSHOT_BYTES, read_snapshot, write_snapshot
from holdfast.process.backoff import Backoff
from holdfast.process.retry import retrying

SHORT_LOG_EVENTS: Final = 100
"""So many events are read: that is quicker than asking for a snapshot first."""

READ_ATTEMPTS: Final = 15
"""Reads of a log that ends too early, because a replica of the stream lags, before it counts as unavailable."""

READ_BACKOFF: Final = Backoff(first_s=0.05, longest_s=1.0)
"""Pauses between them: about 10 s together."""

log = structlog.get_logger()


class LogLags(Unavailable):
    """The replica of the stream that answered does not have the newest commit yet."""


async def load_contexts(bus: Bus, key: Key, last: Stored, earlier: Contexts | None = None) -> Contexts:
    """The contexts after the commit `last`, or after a later one. Raises BusError.

    `earlier` are those after an earlier commit, if they are known; they are folded on unless too much has followed.
    """
    contexts = earlier if earlier is not None and earlier.seq <= last.seq else Contexts()
    if last.commit.head.count - contexts.count > SHORT_LOG_EVENTS:
        saved = Contexts.restore(await read_snapshot(bus, key))
        if contexts.seq < saved.seq <= last.seq:
            contexts = saved

    async def read() -> None:
        async for page in bus.log.pages(key, contexts.seq):
            for stored in page:
                contexts.fold(stored)
        if contexts.seq < last.seq:
            raise LogLags("the log ends before a commit that is in it")

    await retrying(
        read, on=LogLags, what="reading a log", backoff=READ_BACKOFF, limit=READ_ATTEMPTS, session=key.session
    )
    return contexts


async def save_contexts(bus: Bus, key: Key, contexts: Contexts, *, every: int) -> None:
    """Write a snapshot if `every` events were added since the last one. A failure is logged: it only costs reading.

    One that would be larger than MAX_SNAPSHOT_BYTES is not made: the attempt alone would need as much memory again.
    """
    if contexts.count - contexts.snapshot_count < every:
        return
    if contexts.size > MAX_SNAPSHOT_BYTES:
        log.info("snapshot.too_large", session=key.session, chars=contexts.size)
        contexts.snapshot_count = contexts.count
        return
    try:
        await write_snapshot(bus, key, contexts.snapshot())
    except BusError as exc:
        log.info("snapshot.failed", session=key.session, code=exc.code)
    contexts.snapshot_count = contexts.count
