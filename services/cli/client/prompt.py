"""Asking the person at the terminal, without stopping the event loop."""

import asyncio
import contextlib
import sys


class NobodyThere(Exception):
    """The input has ended: there is nobody to ask."""


async def ask(question: str) -> str:
    """One line of standard input, without its end. Raises NobodyThere."""
    print(question, end="", flush=True)
    line = await _line()
    if not line:
        print()
        raise NobodyThere
    return line.strip()


async def _line() -> str:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def ready() -> None:
        if not came.done():
            came.set_result(None)

    try:
        loop.add_reader(sys.stdin.fileno(), ready)
    except (PermissionError, ValueError, OSError):
        return sys.stdin.readline()  # a plain file: it never makes one wait
    try:
        await came
        return sys.stdin.readline()
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(sys.stdin.fileno())
