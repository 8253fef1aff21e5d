"""The contexts of a session from the bus: the last snapshot and what the log holds after it."""

import asyncio
from typing import Final

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key
from holdfast.harness.conversation.context import Contexts

SHORT: Final = 100
"""Events up to which a log is read whole: quicker than asking for a snapshot first."""

ATTEMPTS: Final = 20
"""Reads before a log that ends too early counts as unavailable: a replica of the stream may lag."""


async def load_contexts(bus: Bus, key: Key, last: Stored) -> Contexts:
    """The contexts after the commit `last`, or later. Raises BusError."""
    contexts = Contexts()
    if last.commit.head.count > SHORT:
        entry = await bus.kv.get("snap", subjects.snapshot_key(key), leader=False)  # any that is not too new will do
        contexts = Contexts.restore(entry.value if entry else None)
        if contexts.seq > last.seq:
            contexts = Contexts()
    for attempt in range(ATTEMPTS):
        async for page in bus.log.pages(key, contexts.seq):
            for stored in page:
                contexts.fold(stored)
        if contexts.seq >= last.seq:
            return contexts
        await asyncio.sleep(0.05 * attempt)
    raise Unavailable("the log ends before a commit that is in it")
