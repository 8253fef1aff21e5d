"""A bus in memory with one harness and a slow model, in virtual time."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.harness.models.interface import Piece, Request, Response
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.harness.turn.inbox_batches import BATCH_BYTES
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.simulation import virtual_time
from tests.unit.harness.heads import CONFIG

RESPONSE_S = 100.0


class SlowModel:
    """A model that answers after RESPONSE_S seconds, or at once if a message says `quick`."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        """The messages of each request, as text."""

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        self.requests.append(str(request.messages))
        if "quick" not in str(request.messages):
            await asyncio.sleep(RESPONSE_S)
        yield Response([{"type": "text", "text": "done"}], "end_turn", ev.ModelUsage())

    async def close(self) -> None:
        """Nothing is open."""


class WatchedFaults(Faults):
    """Counts the reads of the inbox and of the last commit, and the inputs decoded. Arrivals are lost while `deaf`."""

    def __init__(self) -> None:
        self.reads = 0
        self.head_reads = 0
        self.decoded = 0
        self.deaf = False

    def reads_input(self, process: str, data: bytes) -> None:
        self.decoded += 1

    async def pause(self, process: str, operation: str) -> None:
        self.reads += operation == "pending"
        self.head_reads += operation == "head"
        await super().pause(process, operation)

    def fate(self, process: str, operation: str) -> Fate:
        return "lost" if operation == "arrival" and self.deaf else "good"


class Place:
    """A bus in memory with one harness that handles `limit` deliveries at once."""

    def __init__(
        self,
        *,
        limit: int = 2,
        batch_bytes: int = BATCH_BYTES,
        tenant_sessions: int = 0,
        faults: WatchedFaults | None = None,
    ) -> None:
        self.model = SlowModel()
        self.faults = faults or WatchedFaults()
        self.bus = MemoryBus(MemoryServer(self.faults), "h")
        self._stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.dispatcher = Dispatcher(
            self.bus,
            self.model,
            HarnessSettings(tenant_sessions=tenant_sessions),
            name="h",
            now=lambda: 1_000_000 + int(loop.time() * 1e6),
            batch_bytes=batch_bytes,
        )
        self._consuming = loop.create_task(
            self.bus.inbox.consume(FIRST_CELL, self.dispatcher.handle, self._stop, limit=limit)
        )

    async def session(self, tenant: str = "acme") -> Key:
        key = Key(tenant, new_session_id())
        await self.bus.log.append(key, commit(None, [CONFIG], by="edge", new_id=new_id, now=1), 0)
        return key

    async def events(self, key: Key) -> list[ev.Event]:
        return [e for s in await self.bus.log.read(key) for e in s.commit.events]

    async def until(self, key: Key, kind: type[ev.Event], where: Callable[[Any], bool] = lambda _: True) -> float:
        """The time at which an event of that kind for which `where` holds is in the log."""
        async with aclosing(self.bus.log.tail(key, 0)) as commits:
            async for stored in commits:
                if stored and any(isinstance(e, kind) and where(e) for e in stored.commit.events):
                    break
        return asyncio.get_running_loop().time()

    async def idle_at(self, key: Key) -> float:
        """The time at which the session became idle."""
        return await self.until(key, ev.SessionStatusIdle)

    async def turn(self, key: Key, text: str) -> int:
        """Say it, and return once the session is idle again and nothing is left to do for it: the reads until then."""
        before = self.faults.reads + self.faults.head_reads
        idle = len([e for e in await self.events(key) if isinstance(e, ev.SessionStatusIdle)])
        await self.bus.inbox.put(key, client_input(text))
        number = itertools.count(1)
        await self.until(key, ev.SessionStatusIdle, lambda _: next(number) > idle)
        reads = self.faults.reads + self.faults.head_reads - before
        await asyncio.sleep(1)
        return reads

    async def close(self) -> None:
        self._stop.set()
        await self._consuming


def run(main: Any) -> Any:
    return virtual_time.run(main, lambda _task, _context: None)
