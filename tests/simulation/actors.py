"""The surroundings of a session in a schedule: a model that answers at random, and sandboxes that run nothing."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence

from holdfast.bus import events as ev
from holdfast.bus.head import Call
from holdfast.bus.ids import Key, new_id
from holdfast.harness.models.interface import BlockStart, ModelFailure, Piece, Request, Response, TextDelta
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.drivers.sandbox import OnPrinted, Outcome, SandboxLost
from holdfast.scripted_model import validate
from tests.simulation.fault_injector import FaultInjector, Process

AGENT = {
    "id": "agent_1",
    "type": "agent",
    "version": 1,
    "name": "tester",
    "model": {"id": "simulated"},
    "tools": [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": True, "permission_policy": {"type": "always_allow"}},
            "configs": [{"name": "write", "enabled": True, "permission_policy": {"type": "always_ask"}}],
        },
        {"type": "custom", "name": "ask_client", "description": "d", "input_schema": {"type": "object"}},
    ],
}

POISON_TEXT = "the poison"
"""A process that sends this text to the model crashes."""


class Model:
    """Answers at random: text, tool calls, failures; slowly or at once. It refuses what the real API refuses."""

    def __init__(self, injector: FaultInjector, process: Process, observations: "Observations") -> None:
        self._injector = injector
        self._process = process
        self._observations = observations

    async def close(self) -> None:
        """Nothing is open."""

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        rng, who = self._injector.rng, self._process.name
        await self._injector.pause(who, "model")
        body = {
            "model": request.model["id"],
            "max_tokens": request.max_tokens,
            "stream": True,
            "messages": request.messages,
            "tools": request.tools,
        }
        try:
            validate.check(body)
        except validate.Refused as exc:
            self._observations.violation(f"3: the model was sent an invalid request: {exc}")
        self._observations.requests += 1
        if POISON_TEXT in str(request.messages):
            self._injector.crash(self._process)
            raise asyncio.CancelledError
        if rng.random() < 0.1 and self._observations.failures_left:
            self._observations.failures_left -= 1
            long = rng.random() < 0.2
            may_heal = rng.random() < 0.7
            raise ModelFailure(
                "model_overloaded_error", "simulated", retryable=may_heal, outage=True, context_overflow=long
            )
        yield BlockStart(0, "text")
        for word in ("some", "words"):
            await asyncio.sleep(rng.choice([0, 0.01, 0.3, 2.0]))
            await self._injector.pause(who, "model:chunk")
            yield TextDelta(0, word)
        said = [b for m in request.messages if m["role"] == "user" for b in m["content"] if b["type"] == "text"]
        blocks: list[ev.Block] = [{"type": "text", "text": f"some words; I saw {len(said)} messages"}]
        often = [1, 1, 2] if self._observations.eager else [0, 0, 1, 1, 2]
        count = rng.choice(often) if self._observations.calls_left > 0 and request.may_call_tools else 0
        for _ in range(count):
            self._observations.calls_left -= 1
            name = rng.choice(["bash", "bash", "bash", "bash", "read", "write", "ask_client"])
            name = self._observations.eager or name
            name = rng.choice([name, *self._observations.clock_tools])
            given = {"bash": {"command": "true"}, "ask_client": {}, "now": {}, "sleep": {"seconds": 1}}
            given = given.get(name, {"file_path": "a", "content": "b"})
            blocks.append({"type": "tool_use", "id": new_id("toolu"), "name": name, "input": given})
        usage = ev.ModelUsage(700, 100) if self._observations.heavy else ev.ModelUsage(10, 5)
        stop = "refusal" if rng.random() < 0.03 else "tool_use" if count else "end_turn"
        yield Response(blocks, stop, usage)


class SimulatedSandbox:
    """A sandbox in which calls only take time."""

    def __init__(self, driver: "Driver", key: Key, generation: str) -> None:
        self._driver = driver
        self.key = key
        self.generation = generation
        self.worker = driver.worker
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._running: dict[str, asyncio.Event] = {}
        self._ended: dict[str, asyncio.Event] = {}

    async def run(
        self, call: str, name: str, arguments: dict[str, object], on_printed: OnPrinted | None = None
    ) -> Outcome:
        injector = self._driver.injector
        self._check_alive()
        self._driver.observations.ran(self.key, call, self.generation)
        self._driver.observations.ran_on(self.key, call, self._driver.host)
        cancelled = self._running[call] = asyncio.Event()
        self._ended[call] = asyncio.Event()
        try:
            dies = injector.rng.random() < injector.odds.sandbox_dies
            waits = [asyncio.ensure_future(cancelled.wait()), asyncio.ensure_future(asyncio.shield(self._gone))]
            takes = injector.rng.choice([0, 0.01, 0.5, 2.0, 8.0])
            await asyncio.wait(waits, timeout=takes, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if dies:
                self.die("out of memory")
            self._check_alive()
            return Outcome([{"type": "text", "text": f"result of {call}"}])
        finally:
            del self._running[call]
            self._ended.pop(call).set()
            self._driver.observations.ended(call)

    def _check_alive(self) -> None:
        if self._gone.done():
            raise SandboxLost(self._gone.result())

    async def cancel(self, call: str) -> None:
        if call in self._running:
            self._running[call].set()
        if (ended := self._ended.get(call)) is not None:
            await ended.wait()

    @property
    def alive(self) -> bool:
        return not self._gone.done()

    async def kill(self, reason: str) -> None:
        self.die(reason)

    async def wait(self) -> str:
        return await asyncio.shield(self._gone)

    def die(self, reason: str) -> None:
        if not self._gone.done():
            self._gone.set_result(reason)


class Driver:
    """Makes sandboxes that die with their worker's process, or when it did not say in time that it lives."""

    name = "simulated"
    weak_limits = ""

    kept = "Nothing of it is left."
    elsewhere = "The files are on another host."

    def __init__(
        self, injector: FaultInjector, process: Process, observations: "Observations", *, host: str = ""
    ) -> None:
        """Files stay on `host`; empty: nothing stays."""
        self.host = host
        self.injector = injector
        self.observations = observations
        self._process = process
        self._sandboxes: list[SimulatedSandbox] = []
        self.worker = ""
        self._deadline = 0.0
        process.at_death.append(self._kill_all)

    async def probe(self) -> None:
        """There is always one to be had."""

    async def create(self, spec: HandSpec) -> SimulatedSandbox:
        await self.injector.pause(self._process.name, "create")
        sandbox = SimulatedSandbox(self, spec.key, spec.generation)
        self._sandboxes.append(sandbox)
        self.observations.sandboxes.append(sandbox)
        return sandbox

    def keep_until(self, deadline: float) -> None:
        self._deadline = deadline
        asyncio.get_running_loop().call_at(deadline, self._overdue, deadline)

    def _overdue(self, deadline: float) -> None:
        if deadline == self._deadline:
            self._kill_all()

    def _kill_all(self) -> None:
        for sandbox in self._sandboxes:
            sandbox.die("its worker is gone")
        self._sandboxes.clear()

    async def sessions(self) -> list[Key]:
        return []

    async def remove_files(self, key: Key) -> None:
        """There are none."""

    async def collect(self) -> list[str]:
        return []

    async def open(self, worker: str) -> None:
        self.worker = worker

    async def close(self) -> None:
        self._kill_all()


class IgnoredHealth:
    """A health report that is thrown away."""

    def set(self, check: str, ok: bool, cause: str = "", *, valid_s: float = math.inf) -> None:
        """Not kept."""

    def note(self, name: str, text: str) -> None:
        """Not kept."""


class Observations:
    """Events of a schedule that no log shows, and the violations found."""

    def __init__(self, rng: random.Random) -> None:
        self.violations: list[str] = []
        self.requests = 0
        self.calls_left = rng.choice([0, 2, 4])
        self.eager = ""
        """The tool that the model calls as early as possible; empty: any tool, at any time."""
        self.heavy = False
        """Whether every answer fills the context, so that it is summarised before the next."""
        self.failures_left = 3
        self.runs: dict[tuple[str, str], int] = {}
        self.running: set[str] = set()
        self.closed: Callable[[Key, str], bool] = lambda _key, _call: False
        """Whether the log says that this call has its result."""
        self.open_calls: Callable[[Key], Sequence[Call]] = lambda _key: ()
        """The calls that are open in the log."""
        self.sandboxes: list[SimulatedSandbox] = []
        self.clock_tools: list[str] = []
        """The tools of the second hand that the model may call."""
        self.files: dict[Key, str] = {}
        """The host on which the calls of a session have left files."""

    def violation(self, text: str) -> None:
        self.violations.append(text)

    def ran(self, key: Key, call: str, generation: str) -> None:
        self.runs[call, generation] = self.runs.get((call, generation), 0) + 1
        if self.runs[call, generation] > 1:
            self.violation(f"3: call {call} ran twice in generation {generation}")
        if len({g for c, g in self.runs if c == call}) > 1:
            self.violation(f"3: call {call} ran in two generations")
        if self.closed(key, call):
            self.violation(f"3: call {call} starts after it was closed")
        self._check_order(self.open_calls(key), call)
        self.running.add(call)

    def _check_order(self, calls: Sequence[Call], started: str) -> None:
        """A call starts after every call of its response and hand before it, unless both only read."""
        own = next((c for c in calls if c.id == started), None)
        if own is None:
            return
        for call in calls[: calls.index(own)]:
            if (call.thread, call.hand) == (own.thread, own.hand) and not (call.reads and own.reads):
                self.violation(f"8: call {started} starts before call {call.id} has its result")

    def ran_on(self, key: Key, call: str, host: str) -> None:
        """A call runs on that host and leaves files there; an empty host keeps none."""
        if host and self.files.setdefault(key, host) != host:
            self.violation(f"7: call {call} runs on {host} without the files on {self.files[key]}")

    def ended(self, call: str) -> None:
        self.running.discard(call)
