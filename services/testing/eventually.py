"""Poll until a condition is true, with a deadline; the error has the last value."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL_S = 0.02
"""Seconds between two polls."""


async def eventually(look: Callable[[], Awaitable[T]], *, within: float = 20.0, what: str = "") -> T:
    """The first true value of `look`. Raises AssertionError with `what` and the last value after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = await look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not become true within {within} s; last: {value!r}")
        await asyncio.sleep(POLL_INTERVAL_S)
