"""Reads what waits in an inbox in batches of bounded size, however much waits (rules 4 and 5)."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from holdfast.bus.api import Inbox
from holdfast.bus.ids import Key
from holdfast.bus.inputs import PendingInput, Taken
from holdfast.harness.turn.ingest import NewerGate

BATCH_BYTES: Final = 1024 * 1024
"""Bytes of inputs that are read and taken at once. Whoever reads the head of a session gets a commit of that size."""


class Batch(msgspec.Struct, frozen=True):
    """Inputs that follow one another without a gap on each subject."""

    inputs: list[PendingInput]
    is_last: bool
    """True if the read found nothing behind them that may be taken."""


async def readable(inbox: Inbox, key: Key, above: Taken, *, upto: int = 0) -> AsyncGenerator[PendingInput]:
    """What waits above `above`, at least up to inbox sequence `upto`, before any input of a newer version.

    Raises Newer at one that is not above `upto`, up to which the caller has to take.
    """
    gate = NewerGate(upto)
    async with aclosing(inbox.waiting(key, above, upto=upto)) as inputs:
        async for pending in inputs:
            if gate.admits(pending):
                yield pending


async def batches(
    inbox: Inbox, key: Key, above: Taken, *, upto: int = 0, limit_bytes: int = BATCH_BYTES
) -> AsyncGenerator[Batch]:
    """As `readable`, in batches of at most `limit_bytes`, or of one input that is larger. The last may be empty."""
    found: list[PendingInput] = []
    size = 0
    async with aclosing(readable(inbox, key, above, upto=upto)) as inputs:
        async for pending in inputs:
            if found and size + len(pending.data) > limit_bytes:
                yield Batch(found, is_last=False)
                found, size = [], 0
            found.append(pending)
            size += len(pending.data)
    yield Batch(found, is_last=True)


async def first_batch(inbox: Inbox, key: Key, *, upto: int, limit_bytes: int = BATCH_BYTES) -> Batch:
    """The first of `batches` of all that waits."""
    async with aclosing(batches(inbox, key, Taken(), upto=upto, limit_bytes=limit_bytes)) as found:
        return await anext(found)
