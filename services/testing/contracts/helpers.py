"""Commits, inputs and a consumer for the contracts, and the type of the fixture `joined`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from holdfast.bus import events as ev
from holdfast.bus.api import Bus, Delivery
from holdfast.bus.commits import Commit, Stored, commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import CallResult, ClientInput

Connect = Callable[[str], Awaitable[Bus]]
"""Connects one more process to the same bus."""


def user_commit(text: str, before: Stored | None = None) -> Commit:
    """A commit with one message of a user, which follows `before`."""
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return commit(before, [message], by="test", new_id=new_id, now=time.time_ns() // 1000)


async def append_commits(bus: Bus, key: Key, count: int, before: Stored | None = None) -> list[Stored]:
    """Append `count` commits after `before`, and return them."""
    found: list[Stored] = []
    for number in range(count):
        made = user_commit(f"number {number}", before)
        before = Stored(await bus.log.append(key, made, before.seq if before else 0), made)
        found.append(before)
    return found


def client_input(text: str = "hello") -> ClientInput:
    """An input with one message of a user."""
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return ClientInput(id=new_id("in"), events=[message])


def result(call: str = "") -> CallResult:
    """The result of a call; without a name, of one that nobody made."""
    return CallResult(id=call or new_id("sevt"), generation="g", content=[{"type": "text", "text": "done"}])


@contextlib.asynccontextmanager
async def consuming(bus: Bus, handle: Callable[[Delivery], Awaitable[None]], limit: int = 10) -> AsyncGenerator[None]:
    """Consume the inbox of the cell with `handle` inside the block, and wait for running handlers at its end."""
    stop = asyncio.Event()
    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=limit))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)
