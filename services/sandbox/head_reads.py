"""The head of a session as a worker reads it: from any replica of the log, which may be behind the request's sender.

The leader is not asked: a worker may not read by sequence, only the last commit of a session.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from holdfast.bus.api import Log
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key

HEAD_READS: Final = 8
"""Reads of the head for one request, while the replica that answers is behind its sender."""

HEAD_READ_INTERVAL_S: Final = 0.02
"""Seconds added to the wait before each further read."""


async def heads(log: Log, key: Key) -> AsyncIterator[Stored | None]:
    """The last commit, read HEAD_READS times with a growing wait between the reads. Raises BusError."""
    for attempt in range(HEAD_READS):
        yield await log.head(key)
        await asyncio.sleep(HEAD_READ_INTERVAL_S * attempt)


async def head_at(log: Log, key: Key, log_seq: int) -> Head:
    """The head at the sequence `log_seq` or later. Raises Unavailable if no replica has caught up in time."""
    async for stored in heads(log, key):
        if stored is not None and stored.seq >= log_seq:
            return stored.commit.head
    raise Unavailable("the log that was read is behind the request")
