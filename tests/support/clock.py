"""A second, trivial hand: a clock with the tools `now` and `sleep`. The real worker over a driver of a few lines."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

from holdfast.bus.api import Bus
from holdfast.bus.ids import Key
from holdfast.sandbox.drivers import Driver
from holdfast.sandbox.drivers.hand_spec import HandSpec, require_plain
from holdfast.sandbox.drivers.sandbox import OnPrinted, Outcome, SandboxLost
from holdfast.sandbox.worker import WorkerConfig, work
from holdfast.testing.eventually import eventually
from tests.support.clock_tools import CLOCK

KEPT: Final = "A clock keeps nothing."


class Clock:
    """A running clock; see `Sandbox`."""

    def __init__(self, on_exit: Callable[["Clock"], None], cancelled: list[str]) -> None:
        """`cancelled` receives the ids of calls that are cancelled."""
        self._cancelled = cancelled
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._on_exit = on_exit
        self._sleepers: dict[str, asyncio.Event] = {}

    async def run(
        self, call: str, name: str, arguments: dict[str, object], on_printed: OnPrinted | None = None
    ) -> Outcome:
        if name == "sleep":
            await self._sleep(call, float(str(arguments["seconds"])))
        if self._gone.done():
            raise SandboxLost(self._gone.result())
        return Outcome([{"type": "text", "text": f"{time.time():.3f}"}])

    async def _sleep(self, call: str, seconds: float) -> None:
        awake = self._sleepers[call] = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await awake.wait()

    async def cancel(self, call: str) -> None:
        self._cancelled.append(call)
        if call in self._sleepers:
            self._sleepers[call].set()

    async def kill(self, reason: str) -> None:
        if not self._gone.done():
            self._gone.set_result(reason)
            self._on_exit(self)
        for awake in self._sleepers.values():
            awake.set()

    async def wait(self) -> str:
        return await asyncio.shield(self._gone)


class ClockDriver:
    """See `Driver`. `host` is a name that stands for a place of files; empty: nothing stays."""

    name = "clock"
    kept = KEPT
    elsewhere = "The clock of this session is on another host."
    weak_limits = ""

    def __init__(self, *, host: str = "") -> None:
        self.host = host
        self.removed: list[Key] = []
        self.cancelled: list[str] = []
        """Ids of the calls that were cancelled."""
        self._clocks: set[Clock] = set()
        self._deadline = 0.0

    async def probe(self) -> None:
        """There is always one to be had."""

    async def create(self, spec: HandSpec) -> Clock:
        require_plain(spec, by=self.name)
        clock = Clock(self._clocks.discard, self.cancelled)
        self._clocks.add(clock)
        return clock

    def keep_until(self, deadline: float) -> None:
        self._deadline = deadline
        asyncio.get_running_loop().call_at(deadline, self._expire, deadline)

    def _expire(self, deadline: float) -> None:
        if deadline == self._deadline:
            self._ending = asyncio.ensure_future(self.close())

    async def sessions(self) -> list[Key]:
        return []

    async def remove_files(self, key: Key) -> None:
        self.removed.append(key)

    async def collect(self) -> list[str]:
        return []

    async def open(self, worker: str) -> None:
        """Nothing is labelled with the id of the worker."""

    async def close(self) -> None:
        for clock in list(self._clocks):
            await clock.kill("its worker stopped")


class WorkerReport:
    """The state of a worker as it reports it."""

    def __init__(self) -> None:
        self.checks: dict[str, bool] = {}
        self.notes: dict[str, str] = {}

    def set(self, check: str, ok: bool, cause: str = "", *, valid_s: float = math.inf) -> None:
        self.checks[check] = ok

    def note(self, name: str, text: str) -> None:
        self.notes[name] = text

    async def serves(self) -> bool:
        """True once the worker answers requests and its first probe has ended, as `/readyz` says it."""
        return self.checks.get("bus", False) and self.checks.get("sandbox", False)


@contextlib.asynccontextmanager
async def hand_worker(
    bus: Bus, driver: Driver, *, hand: str = CLOCK, limit: int = 0, probe_interval_s: float = 30.0
) -> AsyncGenerator[WorkerReport]:
    """A worker in this process that answers requests; stopped at the end of the block. `limit`: hands at once."""
    report, stop = WorkerReport(), asyncio.Event()
    config = WorkerConfig(hand=hand, drain_s=1.0, max_sandboxes=limit, probe_interval_s=probe_interval_s)
    task = asyncio.create_task(work(bus, driver, config, stop, report))
    try:
        await eventually(report.serves, within=20, what="the worker serves")
        yield report
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)
