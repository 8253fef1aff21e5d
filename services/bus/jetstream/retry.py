"""Retries of operations that are safe to repeat, until a deadline."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from holdfast.bus.errors import StorageFull, Unavailable
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.backoff import Backoff

T = TypeVar("T")
P = ParamSpec("P")

RETRY_TIMEOUT_S = 15.0
"""Seconds for which a read or a repeatable write is retried: longer than the election of a new leader."""

_BACKOFF = Backoff(first_s=0.02, longest_s=0.5)


class Pauses:
    """Pauses between attempts. `wait` raises Unavailable at the deadline."""

    def __init__(self, client: JetStreamClient, timeout_s: float) -> None:
        self._client = client
        self.deadline = asyncio.get_running_loop().time() + timeout_s
        self._failures = 0

    async def wait(self, why: Unavailable) -> None:
        self._failures += 1
        pause_s = _BACKOFF.pause_s(self._failures, random.random())  # noqa: S311  not a secret
        if self.deadline - asyncio.get_running_loop().time() <= pause_s:
            raise why
        await asyncio.sleep(pause_s)
        await self._client.up(self.deadline)


async def retry(client: JetStreamClient, attempt: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `attempt`, called again while it raises Unavailable, for RETRY_TIMEOUT_S seconds."""
    return await retry_until(client, RETRY_TIMEOUT_S, attempt, *args, **kwargs)


async def retry_until(
    client: JetStreamClient, timeout_s: float, attempt: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
) -> T:
    """As `retry`, for `timeout_s` seconds. StorageFull is not retried: space is not freed within seconds."""
    pauses: Pauses | None = None
    while True:
        try:
            return await attempt(*args, **kwargs)
        except StorageFull:
            raise
        except Unavailable as why:
            pauses = pauses or Pauses(client, timeout_s)
            await pauses.wait(why)
