"""Erasing the messages of a deleted session, so that their bytes are on no disk of the server any more (rule 29).

The file store of JetStream appends messages to files of up to 8 MiB. A message that is purged, or replaced by a later
one of its subject, only counts as removed. Its bytes stay until its whole file is removed, or written anew because
less than half of it still counts: for good, if its neighbours live. An erased message is overwritten at once. For that
the server writes the whole file anew and waits for the disk, while nothing else is stored in the stream.
"""

import asyncio

from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.jetstream.retry import retry

PAGE_MESSAGES = 500
"""Messages in one batched read."""

PAGE_BYTES = 1024 * 1024
"""Bytes of messages above which it ends."""


async def erase_all(client: JetStreamClient, stream: str, subject: str, *, below: int = 0) -> int:
    """Erase the messages of the stream that match `subject`, with `below` only those of a lower sequence.

    Returns how many were erased. Raises Unavailable.
    """
    at, left, erased = 0, 1, 0
    while left:
        got, left = await retry(
            client, client.batch, stream, subject, seq=at + 1, limit=PAGE_MESSAGES, max_bytes=PAGE_BYTES
        )
        if not got:
            break
        for one in got:
            if below and one.seq >= below:
                return erased
            erased += await _erase(client, stream, one.seq)
            at = one.seq
    return erased


async def _erase(client: JetStreamClient, stream: str, seq: int) -> bool:
    async def attempt() -> bool:
        began_at = asyncio.get_running_loop().time()
        erased = await client.erase(stream, seq)
        if erased:
            await client.erase_budget.pause(asyncio.get_running_loop().time() - began_at)
        return erased

    return await retry(client, attempt)
