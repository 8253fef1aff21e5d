"""A session with a slow response: what its further inputs cost, and how an interrupt is noticed. In virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.harness.models.interface import Piece, Request, Response
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.unit.harness.heads import CONFIG

RESPONSE_S = 100.0


class _Slow:
    """A model that answers after RESPONSE_S seconds, or at once if the last message says `quick`."""

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        if "quick" not in str(request.messages):
            await asyncio.sleep(RESPONSE_S)
        yield Response([{"type": "text", "text": "done"}], "end_turn", ev.ModelUsage())

    async def close(self) -> None:
        """Nothing is open."""


class _Watched(Faults):
    """Counts the reads of the inbox. Arrivals are lost while `deaf`."""

    def __init__(self) -> None:
        self.reads = 0
        self.deaf = False

    async def pause(self, process: str, operation: str) -> None:
        self.reads += operation == "pending"
        await super().pause(process, operation)

    def fate(self, process: str, operation: str) -> Fate:
        return "lost" if operation == "arrival" and self.deaf else "good"


class _Place:
    """A bus in memory with one harness that handles two deliveries at once."""

    def __init__(self) -> None:
        self.faults = _Watched()
        self.bus = MemoryBus(MemoryServer(self.faults))
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(
            self.bus, _Slow(), HarnessSettings(), name="h", now=lambda: 1_000_000 + int(loop.time() * 1e6)
        )
        self._consuming = loop.create_task(self.bus.inbox.consume(FIRST_CELL, dispatcher.handle, self._stop, limit=2))

    async def session(self) -> Key:
        key = Key("acme", new_session_id())
        await self.bus.log.append(key, commit(None, [CONFIG], by="edge", new_id=new_id, now=1), 0)
        return key

    async def events(self, key: Key) -> list[ev.Event]:
        return [e for s in await self.bus.log.read(key) for e in s.commit.events]

    async def until(self, key: Key, kind: type[ev.Event]) -> float:
        """The time at which an event of that kind is in the log."""
        async with aclosing(self.bus.log.tail(key, 0)) as commits:
            async for stored in commits:
                if stored and any(isinstance(e, kind) for e in stored.commit.events):
                    break
        return asyncio.get_running_loop().time()

    async def idle_at(self, key: Key) -> float:
        """The time at which the session became idle."""
        return await self.until(key, ev.SessionStatusIdle)

    async def close(self) -> None:
        self._stop.set()
        await self._consuming


def _run(main: Any) -> Any:
    return virtual_time.run(main, lambda _task, _context: None)


def test_inputs_of_a_driven_session_take_no_slot_and_are_all_taken_and_acked() -> None:
    async def main() -> tuple[float, list[str], list[str], int]:
        place = _Place()
        slow, other = await place.session(), await place.session()
        inputs = [client_input(f"number {n}") for n in range(30)]
        for value in inputs:
            await place.bus.inbox.put(slow, value)
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        await place.bus.inbox.put(other, client_input("quick"))
        served = await place.idle_at(other) - began
        await place.idle_at(slow)
        await asyncio.sleep(200)
        sent = [e.id for value in inputs for e in value.events]
        taken = [e.id for e in await place.events(slow) if isinstance(e, ev.UserMessage)]
        left = len(await place.bus.inbox.pending(slow))
        await place.close()
        return served, sent, taken, left

    served, sent, taken, left = _run(main)
    assert served < 5, "the other session did not wait for the slow response"
    assert (taken, left) == (sent, 0)


def test_the_inbox_is_not_polled_while_a_model_answers() -> None:
    async def main() -> int:
        place = _Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(1)
        before = place.faults.reads
        await asyncio.sleep(RESPONSE_S - 5)
        reads = place.faults.reads - before
        await place.idle_at(key)
        await place.close()
        return reads

    assert _run(main) <= 7, "one each 15 s"


def test_an_interrupt_is_noticed_at_once_and_within_15_s_if_its_arrival_was_lost() -> None:
    async def main(*, deaf: bool) -> float:
        place = _Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(20)
        place.faults.deaf = deaf
        began = asyncio.get_running_loop().time()
        await place.bus.inbox.put(key, ClientInput(id="stop", events=[ev.UserInterrupt(id=new_id("sevt"))]))
        took = await place.idle_at(key) - began
        await place.close()
        return took

    assert _run(lambda: main(deaf=False)) < 0.5
    assert 0.5 < _run(lambda: main(deaf=True)) < 16


def test_an_arrival_that_shows_a_gap_makes_the_inbox_be_read_at_once() -> None:
    async def main() -> float:
        place = _Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(20)
        began = asyncio.get_running_loop().time()
        place.faults.deaf = True
        await place.bus.inbox.put(key, ClientInput(id="stop", events=[ev.UserInterrupt(id=new_id("sevt"))]))
        place.faults.deaf = False
        await place.bus.inbox.put(key, client_input("quick"))
        took = await place.until(key, ev.UserInterrupt) - began
        await place.idle_at(key)
        await place.close()
        return took

    assert _run(main) < 0.5
