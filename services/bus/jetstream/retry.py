"""Retries of operations that are safe to repeat, until a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from holdfast.bus.errors import StorageFull, Unavailable
from holdfast.bus.jetstream.requests import JetStreamClient

T = TypeVar("T")
P = ParamSpec("P")

RETRY_TIMEOUT_S = 15.0
"""Seconds for which a read or a repeatable write is retried: longer than the election of a new leader."""

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class Pauses:
    """Pauses between attempts, doubled up to 0.5 s. `wait` raises Unavailable at the deadline."""

    def __init__(self, client: JetStreamClient, timeout_s: float) -> None:
        self._client = client
        self.deadline = asyncio.get_running_loop().time() + timeout_s
        self._next = _FIRST_PAUSE_S

    async def wait(self, why: Unavailable) -> None:
        left = self.deadline - asyncio.get_running_loop().time()
        if left <= self._next:
            raise why
        await asyncio.sleep(self._next)
        self._next = min(self._next * 2, _LONGEST_PAUSE_S)
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
