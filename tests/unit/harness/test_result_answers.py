"""Results in the answers of workers (rules 13, 14 and 18): a real harness and a real worker, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import AnyInput, CallResult, ClientInput, Source
from holdfast.bus.tools import TOOLSET
from holdfast.harness.models.interface import Piece, Request, Response
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.sandbox.execution import CONFIRM_TIMEOUT_S, RESULT_WINDOW_S
from holdfast.sandbox.worker import WorkerConfig, work
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.support.clock import ClockDriver, WorkerReport
from tests.support.clock_tools import CLOCK, clock_tools
from tests.unit.harness.heads import CONFIG

LATER_S = 2 * CONFIRM_TIMEOUT_S
"""Seconds after which an unconfirmed result has been published."""

POLICY = {"enabled": True, "permission_policy": {"type": "always_allow"}}
TOOLS = [{"type": TOOLSET, "default_config": POLICY, "configs": []}]


class _Caller:
    """A model that calls the tool `sleep` once, and then says that it is done."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.requests = 0

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        self.requests += 1
        if self.requests > 1:
            yield Response([{"type": "text", "text": "done"}], "end_turn", ev.ModelUsage())
            return
        use: ev.Block = {
            "type": "tool_use",
            "id": new_id("toolu"),
            "name": "sleep",
            "input": {"seconds": self._seconds},
        }
        yield Response([use], "tool_use", ev.ModelUsage())

    async def close(self) -> None:
        """Nothing is open."""


class _Unconfirmed(Faults):
    """Every confirmation of the harness is lost."""

    def fate(self, process: str, operation: str) -> Fate:
        return "lost" if (process, operation) == ("harness", "publish") else "good"


class _Server(MemoryServer):
    """Remembers what was stored in inboxes."""

    def __init__(self, faults: Faults | None) -> None:
        super().__init__(faults)
        self.inputs: list[AnyInput] = []

    def put(self, key: Key, source: Source, data: bytes, input_id: str) -> int:
        value = codec.decode_input(data)
        assert isinstance(value, AnyInput)
        self.inputs.append(value)
        return super().put(key, source, data, input_id)

    @property
    def results(self) -> list[str]:
        """Ids of the calls whose results came to an inbox."""
        return [value.id for value in self.inputs if isinstance(value, CallResult)]


class _Place:
    """One session, its harness, and a worker of the hand `clock`. The model calls `sleep` for that many seconds."""

    def __init__(self, seconds: float, faults: Faults | None = None) -> None:
        self.server = _Server(faults)
        self.key = Key("acme", new_session_id())
        self.model = _Caller(seconds)
        self.bus = MemoryBus(self.server, "test")

    async def begin(self) -> None:
        """Start both and say something."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        harness = MemoryBus(self.server, "harness")
        dispatcher = Dispatcher(
            harness, self.model, HarnessSettings(), name="h", now=lambda: 1_000_000 + int(loop.time() * 1e6)
        )
        worker = work(
            MemoryBus(self.server, "worker"), ClockDriver(), WorkerConfig(hand=CLOCK), stop, WorkerReport()
        )  # fmt: skip
        self._tasks = [
            loop.create_task(worker),
            loop.create_task(harness.inbox.consume(FIRST_CELL, dispatcher.handle, stop, limit=2)),
        ]
        config = replace(CONFIG, agent={**CONFIG.agent, "tools": TOOLS})
        await self.bus.log.append(self.key, commit(None, [config], by="edge", new_id=new_id, now=1), 0)
        await self.bus.inbox.put(self.key, client_input())

    async def until(self, kind: type[ev.Event]) -> float:
        """The time at which an event of that kind is in the log."""
        async with aclosing(self.bus.log.tail(self.key, 0)) as commits:
            async for stored in commits:
                if stored and any(isinstance(e, kind) for e in stored.commit.events):
                    break
        return asyncio.get_running_loop().time()

    async def outcomes(self) -> list[bool]:
        """For each result of a tool in the log, whether it is an error."""
        events = [e for s in await self.bus.log.read(self.key) for e in s.commit.events]
        return [bool(e.is_error) for e in events if isinstance(e, ev.AgentToolResult)]


def _run(main: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await main

    with clock_tools():
        virtual_time.run(limited, lambda _task, _context: None)


def test_the_result_of_a_short_call_is_in_the_answer_and_never_in_the_inbox() -> None:
    async def main() -> None:
        place = _Place(RESULT_WINDOW_S / 5)
        await place.begin()
        sent = await place.until(ev.HandBound)
        assert await place.until(ev.AgentToolResult) - sent < RESULT_WINDOW_S
        await place.until(ev.SessionStatusIdle)
        await asyncio.sleep(LATER_S)
        assert (await place.outcomes(), place.server.results, place.model.requests) == ([False], [], 2)

    _run(main())


def test_the_result_of_a_longer_call_comes_to_the_inbox() -> None:
    async def main() -> None:
        place = _Place(2 * RESULT_WINDOW_S)
        await place.begin()
        await place.until(ev.SessionStatusIdle)
        assert (await place.outcomes(), len(place.server.results), place.model.requests) == ([False], 1, 2)

    _run(main())


def test_a_result_whose_confirmation_is_lost_comes_to_the_inbox_too_and_is_logged_once() -> None:
    async def main() -> None:
        place = _Place(0.0, _Unconfirmed())
        await place.begin()
        idle = await place.until(ev.SessionStatusIdle)
        assert idle < CONFIRM_TIMEOUT_S, "nothing waits for the confirmation"
        await asyncio.sleep(LATER_S)
        assert (await place.outcomes(), len(place.server.results), place.model.requests) == ([False], 1, 2)
        assert await place.bus.inbox.pending(place.key) == [], "it is taken and removed"

    _run(main())


def test_an_interrupt_does_not_wait_for_the_window() -> None:
    async def main() -> None:
        place = _Place(300.0)
        await place.begin()
        await place.until(ev.HandBound)
        await asyncio.sleep(RESULT_WINDOW_S / 10)
        began = asyncio.get_running_loop().time()
        stop = ClientInput(id=new_id("in"), events=[ev.UserInterrupt(id=new_id("sevt"))])
        await place.bus.inbox.put(place.key, stop)
        assert await place.until(ev.SessionStatusIdle) - began < RESULT_WINDOW_S / 2
        await asyncio.sleep(LATER_S)
        assert (await place.outcomes(), place.server.results, place.model.requests) == ([True], [], 1)

    _run(main())
