"""What the figures are measured on: the stack as users start it, with the scripted model behind it."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any, Self

from anthropic import AsyncAnthropic

from services.bus.client import NatsBus
from services.bus.commits import commit
from services.bus.events import SessionStatusIdle, UserMessage
from services.bus.ids import Key, new_id, new_session_id
from services.bus.inputs import ClientInput
from services.cli.scripted.journal import Record
from tests.support.model import Json, said
from tests.support.stack import Stack, key, stack
from tests.support.talk import Talk

TOKENS = "The quick brown fox jumps over the lazy dog."
"""What the model says when it does not matter."""


@contextlib.contextmanager
def bed(*, harnesses: int = 2, bench: bool = True, **environ: str) -> Generator[Stack]:
    """A fresh stack with the durability users get by default; `bench`: the model checks nothing and keeps no bodies."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        options = ("--bench",) if bench else ()
        with stack(Path(folder), harnesses=harnesses, environ=environ, sync="always", model_options=options) as running:
            yield running


@contextlib.asynccontextmanager
async def talks(running: Stack, count: int, **options: Any) -> AsyncGenerator[list[Talk]]:
    """That many sessions of one client, of one agent and environment."""
    async with running.client() as client:
        first = await Talk.begin(client, **options)
        made = await client.beta.sessions.retrieve(first.id)
        rest = [await _another(client, made.agent.id, made.environment_id) for _ in range(count - 1)]
        yield [first, *rest]


async def _another(client: AsyncAnthropic, agent: str, environment: str) -> Talk:
    made = await client.beta.sessions.create(agent=agent, environment_id=environment)
    return Talk(client, made.id)


async def put(bus: NatsBus, session: str, mark: str) -> float:
    """Store a message in the inbox as the edge does; returns when that began (Unix seconds)."""
    content: list[Json] = said(mark)["content"]
    event = UserMessage(id=new_id("sevt"), content=content)
    began = time.time()
    await bus.put_input(key(session), ClientInput(id=new_id("inp"), events=[event]))
    return began


async def publish_times(bus: NatsBus, count: int = 200) -> list[float]:
    """Seconds of one publish into JetStream, one after the other: the floor of everything that is stored."""
    where = Key("bench", new_session_id())
    took: list[float] = []
    last = 0
    for _ in range(count):
        event = UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": TOKENS}])
        one = commit(None, [event], by="bench", now=time.time_ns() // 1000)
        began = time.perf_counter()
        last = await bus.append(where, one, last)
        took.append(time.perf_counter() - began)
    return took


class Turns:
    """Counts the turns of a session that have ended, by following its log on one connection."""

    def __init__(self, bus: NatsBus, session: str) -> None:
        self._bus = bus
        self._session = session
        self._count = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        async for stored in self._bus.tail(key(self._session), 0):
            if stored:
                self._count += sum(isinstance(e, SessionStatusIdle) for e in stored.commit.events)
                self._changed.set()
                self._changed = asyncio.Event()

    async def ended(self, turns: int, *, within: float = 300) -> None:
        """Wait until that many turns in all have ended."""
        async with asyncio.timeout(within):
            while self._count < turns:
                await self._changed.wait()


async def idle(running: Stack, session: str, turns: int) -> None:
    """Wait until that many turns of the session in all have ended, where the time of a connection does not matter."""
    async with running.bus("session") as bus, Turns(bus, session) as counted:
        await counted.ended(turns)


def by_step(records: Sequence[Record]) -> dict[int, Record]:
    """The records of one conversation by the number of their step."""
    return {r.step: r for r in records}
