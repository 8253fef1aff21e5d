"""The faults of a schedule: which process crashes, freezes, or loses a response at which await. All from one seed."""

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from holdfast.testing.faults import Fate, Faults
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
"""The simulated process that the running task belongs to."""

DEADLY_INPUT_TEXT = b"deadly to read"
"""A process that decodes an inbox message with this text crashes."""


class Odds(Struct, frozen=True):
    """Probabilities at one await, and how long things take (seconds)."""

    crash: float = 0.0
    freeze: float = 0.0
    lost: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    lag: float = 0.0
    slow: float = 0.0
    again: float = 0.0
    """Of one second: that a held delivery is delivered a second time."""
    sandbox_dies: float = 0.0
    """Of one tool call: that its sandbox dies under it."""


NO_FAULTS = Odds()
ALL_FAULTS = Odds(
    crash=0.012, freeze=0.01, lost=0.02, unanswered=0.03, late=0.03, twice=0.05, lag=0.2, slow=0.1, again=0.1,
    sandbox_dies=0.05,
)  # fmt: skip


def odds(rng: random.Random) -> Odds:
    """One schedule in five has everything; the others have few kinds of faults, but those hard."""
    if rng.random() < 0.2:
        return ALL_FAULTS
    chosen = {name: value * rng.choice([1, 1, 2, 4]) for name, value in _fields(ALL_FAULTS) if rng.random() < 0.4}
    return Odds(**chosen)


def _fields(value: Odds) -> list[tuple[str, float]]:
    return [(name, getattr(value, name)) for name in value.__struct_fields__]


class Process:
    """A simulated process: its tasks, its bus, and how to start it again."""

    def __init__(
        self, injector: "FaultInjector", name: str, main: Callable[[MemoryBus], Coroutine[Any, Any, None]]
    ) -> None:
        self.injector = injector
        self.name = name
        self.main = main
        self.tasks: dict[asyncio.Task[Any], None] = {}  # in the order of their birth
        self.frozen_until = 0.0
        self.bus: MemoryBus | None = None
        self.at_death: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        return self.bus is not None and not self.bus.dead

    def start(self) -> None:
        """Begin a new life."""
        self.frozen_until = 0.0
        self.tasks = {}
        self.at_death = []
        self.bus = MemoryBus(self.injector.server, self.name)
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        asyncio.get_running_loop().create_task(self.main(self.bus), context=context).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            self.injector.ended.append((self.name, exc))

    def die(self) -> None:
        """kill -9."""
        if self.bus is None or self.bus.dead:
            return
        self.bus.kill()
        for undo in self.at_death:
            undo()
        for task in list(self.tasks):
            task.cancel()


class FaultInjector(Faults):
    """Decides at every await of every process whether a fault happens there."""

    def __init__(self, seed: int, *, given: Odds | None = None) -> None:
        self.rng = random.Random(seed)
        self.odds = given or odds(self.rng)
        self.server = MemoryServer(self)
        self.immune: tuple[str, ...] = ()
        """Prefixes of the names of processes that neither crash nor freeze."""
        self.processes: dict[str, Process] = {}
        self.ended: list[tuple[str, BaseException]] = []
        """Name and exception of each process whose main function raised, which none should."""
        self.steps = 0
        self.counts: dict[str, int] = {}

    # --- processes -------------------------------------------------------------------------------------------------

    def add(self, name: str, main: Callable[[MemoryBus], Coroutine[Any, Any, None]]) -> Process:
        process = self.processes[name] = Process(self, name, main)
        process.start()
        return process

    def on_task_created(self, task: asyncio.Task[Any], context: contextvars.Context) -> None:
        process = context.get(PROCESS)
        if process is not None:
            process.tasks[task] = None
            task.add_done_callback(lambda done: process.tasks.pop(done, None))

    def crash(self, process: Process, *, back_after: float | None = None) -> None:
        """Kill it; it is started again after a while."""
        if not process.alive:
            return
        self._count("crash")
        process.die()
        wait = self.rng.uniform(0.1, 4.0) if back_after is None else back_after
        asyncio.get_running_loop().call_later(wait, process.start)

    def end_faults(self) -> None:
        """No more faults from now on; what is frozen thaws."""
        self.odds = NO_FAULTS
        for process in self.processes.values():
            process.frozen_until = 0.0

    # --- faults ----------------------------------------------------------------------------------------------------

    async def pause(self, process: str, operation: str) -> None:
        self.steps += 1
        found = self.processes.get(process)
        now = asyncio.get_running_loop().time()
        if found is not None and not process.startswith(self.immune):
            if self._hits(self.odds.crash):
                self.crash(found)
                raise asyncio.CancelledError
            if self._hits(self.odds.freeze):
                self._count("freeze")
                found.frozen_until = now + self.rng.uniform(0.2, 6.0)
            while found.frozen_until > now:
                await asyncio.sleep(found.frozen_until - now)
                now = asyncio.get_running_loop().time()
        if self._hits(self.odds.slow):
            await asyncio.sleep(self.rng.choice([0.01, 0.1, 1.0, 2.5]))
        else:
            await asyncio.sleep(self.rng.choice([0, 0, 0.0001, 0.001]))

    def _hits(self, chance: float) -> bool:
        return chance > 0 and self.rng.random() < chance

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def fate(self, process: str, operation: str) -> Fate:
        if self.processes.get(process) is None:
            return "good"
        roll = self.rng.random()
        for name in ("lost", "unanswered", "late"):
            chance = getattr(self.odds, name)
            if roll < chance:
                self._count(name)
                return name
            roll -= chance
        return "good"

    def lag(self, process: str, operation: str) -> float:
        return self.rng.choice([0.001, 0.1, 1.0, 3.0]) if self._hits(self.odds.lag) else 0.0

    def delay(self, process: str, operation: str) -> float:
        return self.rng.choice([0.0, 0.001, 0.5, 3.0]) if self.odds is not NO_FAULTS else 0.0

    def pick(self, count: int) -> int:
        return self.rng.randrange(count)

    def reads_input(self, process: str, data: bytes) -> None:
        found = self.processes.get(process)
        if found is not None and DEADLY_INPUT_TEXT in data:
            self.crash(found)
            raise asyncio.CancelledError

    def repeats(self, process: str, operation: str) -> bool:
        return self._hits(self.odds.twice)
