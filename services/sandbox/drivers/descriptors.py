"""Waiting for a file descriptor."""

import asyncio


async def readable(fd: int, timeout: float) -> None:  # noqa: ASYNC109  returns in both cases
    """Return when `fd` is readable (a pidfd: its process has ended), or after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await asyncio.wait([ready], timeout=timeout)
    finally:
        loop.remove_reader(fd)
