"""Loop time, and waiting with a limit."""

import asyncio
import contextlib


def loop_time() -> float:
    """The clock of the event loop, in seconds. In the simulation this clock is virtual."""
    return asyncio.get_running_loop().time()


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set, or after `timeout_s` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
