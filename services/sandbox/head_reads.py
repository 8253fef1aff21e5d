"""The head of a session as a worker reads it: from any replica of the log, which may be behind the request's sender.

The leader is not asked: a worker may not read by sequence, only the last commit of a session.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from holdfast.bus.api import Log
from holdfast.bus.errors import Unavailable
from holdfast.bus.head import Head
from holdfast.bus.ids import Key

HEAD_READS: Final = 8
"""Reads of the head for one request, while the replica that answers is behind its sender."""

HEAD_READ_INTERVAL_S: Final = 0.02
"""Seconds added to the wait before each further read."""


async def head_at(log: Log, key: Key, log_seq: int, *, enough: Callable[[Head], bool] = lambda _: False) -> Head:
    """The head at the sequence `log_seq` or later, or an earlier one if it is `enough`.

    Raises Unavailable if no replica has caught up in time.
    """
    for attempt in range(HEAD_READS):
        stored = await log.head(key)
        if stored is not None and (stored.seq >= log_seq or enough(stored.commit.head)):
            return stored.commit.head
        await asyncio.sleep(HEAD_READ_INTERVAL_S * attempt)
    raise Unavailable("the log that was read is behind the request")
