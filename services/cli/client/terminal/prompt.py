"""Asks the person at the terminal without blocking the event loop."""

import asyncio
import contextlib
import sys
import termios


class NobodyToAsk(Exception):
    """The input has ended: there is nobody to ask."""


async def ask(question: str) -> str:
    """One line of standard input, without its end. Raises NobodyToAsk.

    What was typed before the question is discarded, because it cannot be an answer to it. The call may be cancelled.
    """
    if sys.stdin.isatty():
        with contextlib.suppress(termios.error):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
    print(question, end="", flush=True)
    try:
        line = await _line()
    except asyncio.CancelledError:
        print()
        raise
    if not line:
        print()
        raise NobodyToAsk
    if not sys.stdin.isatty():
        print()  # in a pipe no Enter has ended the line of the question
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
        return sys.stdin.readline()  # a regular file, which never blocks
    try:
        await came
        return sys.stdin.readline()
    finally:
        with contextlib.suppress(OSError):
            loop.remove_reader(sys.stdin.fileno())
