"""What the delete of a long session costs the others: the appends of a neighbour while it is erased from a full log.

Its commits lie between those of others in files of 8 MiB, as they do in a log of a system at work. They are erased by
the code and at the pace of the session service, first with what its budget has saved up, then in the long run.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import psutil

from benchmarks.result import Row, Spread, at_most, spread
from benchmarks.rig import Bench, Rig, ms, run
from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.jetstream.erase_budget import BURST_S, PAUSE_FACTOR
from holdfast.bus.streams import log_stream
from holdfast.testing.contracts.helpers import user_commit

TITLE = "appends of a neighbour while a long session is erased"

BESIDE = 4
"""Commits of others for each one of the session."""

TEXT = "t" * 16_000

APPEND_INTERVAL_S = 0.01


class Writer:
    """A session that is appended to."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.key = Key("default", new_session_id())
        self._last: Stored | None = None

    @property
    def last_seq(self) -> int:
        """Sequence of the last commit, 0 if there is none."""
        return self._last.seq if self._last else 0

    async def append(self, text: str = TEXT) -> float:
        """The seconds of one append."""
        made = user_commit(text, self._last)
        begin = time.perf_counter()
        seq = await self._bus.log.append(self.key, made, self.last_seq)
        took = time.perf_counter() - begin
        self._last = Stored(seq, made)
        return took

    async def for_seconds(self, seconds: float) -> list[float]:
        """The seconds of each append, paced, for so long."""
        found: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            found.append(await self.append("short"))
            await asyncio.sleep(APPEND_INTERVAL_S)
        return found


@contextlib.asynccontextmanager
async def _erasing(bus: Bus, key: Key) -> AsyncGenerator[None]:
    task = asyncio.create_task(bus.log.erase(key, 1 << 60))
    try:
        yield
        assert not task.done() or not task.exception(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _messages_erased(rig: Rig, key: Key, count: int) -> Spread:
    """The time of each, without a pause, in files of 8 MiB that are full."""
    found: list[float] = []
    async with rig.bus() as bus, rig.link("session") as link:
        for stored in (await bus.log.read(key))[-count:]:
            begin = time.perf_counter()
            assert await link.erase(log_stream(key.cell), stored.seq)
            found.append(time.perf_counter() - begin)
    return spread(ms(found))


async def _measure(rig: Rig) -> list[Row]:
    nats = psutil.Process(rig.stack.run.processes["nats"])
    seconds = rig.options.count(30, 3)
    async with rig.bus() as bus, rig.bus() as session_service:
        deleted, beside, neighbour = Writer(bus), [Writer(bus) for _ in range(BESIDE)], Writer(bus)
        for _ in range(rig.options.count(1000, 100)):
            await asyncio.gather(deleted.append(), *(one.append() for one in beside))
        floor = spread(ms(await neighbour.for_seconds(seconds)))
        spent = nats.cpu_times().user + nats.cpu_times().system
        each = await _messages_erased(rig, deleted.key, rig.options.count(50, 5))
        spent = nats.cpu_times().user + nats.cpu_times().system - spent
        async with _erasing(session_service, deleted.key):
            first = spread(ms(await neighbour.for_seconds(min(seconds, BURST_S * (1 + PAUSE_FACTOR)))))
            await asyncio.sleep(0 if rig.options.quick else 3 * BURST_S * (1 + PAUSE_FACTOR))
            later = spread(ms(await neighbour.for_seconds(seconds)))
    told = f"nats-server: {1000 * spent / each.n:.1f} ms of processor time each"
    return [
        Row(name="a message of a full log erased", unit="ms", found=each, note=told),
        Row(
            name="append of a neighbour, in the first seconds of a delete", unit="ms", found=first, floor=floor,
            floor_name="the same without a delete",
        ),
        Row(
            name="append of a neighbour, later in the delete of a long session", unit="ms", found=later, floor=floor,
            floor_name="the same without a delete",
            aims=[at_most("p99 at most twice the floor", later.p99 / floor.p99, 2)],
        ),
    ]  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        return run(lambda: _measure(rig))
