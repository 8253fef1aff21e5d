"""A fault of ours while a delivery is handled, in virtual time over the bus in memory."""

import asyncio
from itertools import pairwise
from typing import Any

import structlog

from holdfast.bus.api import Delivery
from holdfast.bus.commits import commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import Nudge
from holdfast.harness.models.interface import Request
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.unit.harness.heads import CONFIG


class _NoModel:
    def stream(self, request: Request) -> Any:
        raise AssertionError("no model request is due")

    async def close(self) -> None:
        """There is nothing to close."""


def test_a_delivery_that_fails_comes_again_later_and_later_and_is_handled_once_it_can_be() -> None:
    broken_until_s = 300.0
    times: list[float] = []

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        bus = MemoryBus(MemoryServer())
        key = Key("acme", new_session_id())
        first = commit(None, [CONFIG], by="edge", new_id=new_id, now=1)
        await bus.log.append(key, first, 0)

        def now() -> int:
            if loop.time() < broken_until_s:
                raise RuntimeError("as a bug would")
            return int(loop.time() * 1e6)

        dispatcher = Dispatcher(bus, _NoModel(), HarnessSettings(), name="h", now=now)

        async def handle(delivery: Delivery) -> None:
            times.append(loop.time())
            await dispatcher.handle(delivery)

        stop = asyncio.Event()
        consuming = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=5))
        await bus.inbox.put(key, Nudge(id=new_id("ndg")))
        await asyncio.sleep(broken_until_s + 120)
        stop.set()
        await consuming
        return len(await bus.inbox.pending(key)), len(dispatcher.failed)

    with structlog.testing.capture_logs() as logged:
        waiting, remembered = virtual_time.run(main, lambda _task, _context: None)
    pauses = [round(b - a) for a, b in pairwise(times)]
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert (waiting, remembered) == (0, 0), "handled, and its failures forgotten"
    told = [entry["failures"] for entry in logged if entry["event"] == "delivery.failed"]
    assert told == [1, 2, 4, 8]
