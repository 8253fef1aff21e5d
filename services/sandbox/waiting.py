"""Loop time, waiting with a limit, and repeating a request until the bus has done it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from holdfast.bus.errors import BusError

log = structlog.get_logger()

BUS_RETRY_DELAY_S: Final = 0.25
"""Seconds between two attempts to reach the bus."""


def loop_time() -> float:
    """The clock of the event loop, in seconds. In the simulation this clock is virtual."""
    return asyncio.get_running_loop().time()


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after `timeout_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()


async def retry_until_done(action: Callable[[], Awaitable[object]], final: tuple[type[BusError], ...] = ()) -> None:
    """Repeat `action` until it raises no BusError. An error listed in `final` is raised instead of repeated.

    There is no limit: it ends with the task that runs it. `action` must be safe to repeat; results are, because the
    inbox deduplicates them by the id of their call, and deletions are, because a second one changes nothing.
    """
    while True:
        try:
            await action()
        except final:
            raise
        except BusError as exc:
            log.info("a request to the bus will be repeated", code=exc.code)
            await asyncio.sleep(BUS_RETRY_DELAY_S)
        else:
            return
