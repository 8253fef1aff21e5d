"""One schedule: the real drive loop and the real sandbox workers over the memory bus, with faults injected.

`schedule(seed)` is deterministic. It returns the violations that it found, of which there must be none.
"""

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Coroutine, MutableMapping
from contextlib import aclosing
from typing import Any

import structlog

from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.errors import BusError
from holdfast.bus.head import Head
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.streams import SNAPSHOTS
from holdfast.bus.times import CLAIM_STALE_US
from holdfast.bus.tools import SANDBOX
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from holdfast.harness.turn.inbox_batches import BATCH_BYTES
from holdfast.harness.turn.ping import serve_ping
from holdfast.process.model_facts import ModelCatalogue, ModelFacts
from holdfast.sandbox.worker import WorkerConfig, work
from holdfast.session.jobs.replica_watch import ReplicaWatch
from holdfast.session.log.claims import OpenClaims
from holdfast.testing.memory.bus import MemoryBus
from tests.simulation import virtual_time
from tests.simulation.actors import Driver, IgnoredHealth, Model, Observations
from tests.simulation.fault_injector import NO_FAULTS, FaultInjector, Odds, Process
from tests.simulation.invariants import EPOCH, CheckedServer
from tests.simulation.plan import FAULT_PERIOD_S, Plan, Result, draw_plan
from tests.simulation.user import User, retry_unavailable
from tests.support.clock_tools import CLOCK, clock_tools

SETTLE_TIMEOUT_S = 120.0
"""Seconds within which the session must settle once no fault is injected any more."""
SETTLE_AFTER_LOSS_TIMEOUT_S = 45 * 60.0
"""The same if the message of an open claim was lost for good: only the sweeper repairs that (rules 3 and 20)."""


class Scenario:
    """The processes and the actors of one schedule."""

    def __init__(self, seed: int, *, odds: Odds | None = None, given: Plan | None = None) -> None:
        self.injector = FaultInjector(seed, given=odds)
        self.rng = self.injector.rng
        self.plan = given or draw_plan(self.rng)
        self.observations = Observations(self.rng)
        self.server = self.injector.server = CheckedServer(self.injector, self.observations)
        rough = self.plan.poison or self.plan.deadly or self.plan.vanish or self.plan.drains
        self.server.calm = odds is NO_FAULTS and not rough
        self.key = Key("acme", f"sesn_{FIRST_CELL}_{seed:026d}")
        hold = self.rng.choice([0.0, 0.5, 30.0]) if self.plan.hold is None else self.plan.hold
        self.observations.heavy = self.rng.random() < 0.1
        self.settings = HarnessSettings(
            hold=hold,
            snapshot_every=self.rng.choice([2, 200]),
        )
        facts = ModelFacts(context_window=200_000, compact_at=1000 if self.observations.heavy else None)
        self.catalogue = ModelCatalogue({}, default=facts)
        self.batch_bytes = 1 if seed % 2 else BATCH_BYTES
        """With 1 each input that is read is taken in a commit of its own."""
        if self.plan.calls is not None:
            self.observations.calls_left = self.plan.calls
            self.observations.eager = "read" if self.plan.reads else "bash"
        if self.plan.clocks:
            self.observations.clock_tools = ["now", "sleep"]
        self.user = User(self.key, self.plan, self.rng, now=self.now, head=lambda: self.head, inbox=self._inbox)
        self.starts = 0
        """Starts of harness processes: each has a name of its own."""
        self.stops: dict[str, tuple[asyncio.Event, ...]] = {}
        """The events that SIGTERM sets, by process."""

    @staticmethod
    def now() -> int:
        return EPOCH + int(asyncio.get_running_loop().time() * 1e6)

    @property
    def head(self) -> Head:
        last = self.server.last(self.key)
        return last.head if last else Head()

    # --- processes -------------------------------------------------------------------------------------------------

    def harness(self, name: str) -> Callable[[MemoryBus], Coroutine[Any, Any, None]]:
        async def main(bus: MemoryBus) -> None:
            process, stop = self.injector.processes[name], asyncio.Event()
            self.starts += 1
            replica = f"{name}-{self.starts}"
            claims = Dispatcher(
                bus,
                Model(self.injector, process, self.observations),
                self.settings,
                name=replica,
                now=self.now,
                catalogue=self.catalogue,
                batch_bytes=self.batch_bytes,
            )
            self.stops[name] = (claims.draining, stop)
            await serve_ping(bus, FIRST_CELL, replica)
            await claims.warm.listen(FIRST_CELL)
            await bus.inbox.consume(FIRST_CELL, claims.handle, stop, limit=8, name=replica)

        return main

    def worker(
        self, name: str, *, hand: str = SANDBOX, host: str = ""
    ) -> Callable[[MemoryBus], Coroutine[Any, Any, None]]:
        async def main(bus: MemoryBus) -> None:
            process, stop = self.injector.processes[name], asyncio.Event()
            driver = Driver(self.injector, process, self.observations, host=host)
            self.stops[name] = (stop,)
            config = WorkerConfig(hand=hand, lease_s=3.0, idle_after_s=20.0, drain_s=2.0)
            await work(bus, driver, config, stop, IgnoredHealth())

        return main

    async def edge(self, bus: MemoryBus) -> None:
        """The session service: it never crashes here, but its requests get lost. It follows the log as the projector
        does, and frees what dead harnesses hold (rule 21)."""
        claims = OpenClaims()
        async with asyncio.TaskGroup() as tasks, aclosing(bus.log.follow(FIRST_CELL)) as batches:
            tasks.create_task(ReplicaWatch(bus, FIRST_CELL, claims).run())
            async for batch in batches:
                for key, stored in batch:
                    claims.settle(key, stored.commit.head)

    # --- around it -------------------------------------------------------------------------------------------------

    async def sweeper(self, bus: Bus) -> None:
        """Rule 20."""
        while True:
            await asyncio.sleep(60)
            head = self.head
            if head.claim and self.now() - head.updated > CLAIM_STALE_US and not self._inbox():
                await retry_unavailable(lambda: bus.inbox.put(self.key, Nudge(id=new_id("ndg"))))

    # --- more faults -----------------------------------------------------------------------------------------------

    async def inject_timed_faults(self) -> None:
        """Inject the faults whose probability is per second rather than per await."""
        drains = [self.rng.uniform(0.5, FAULT_PERIOD_S) for _ in range(self.plan.drains)]
        vanish = self.rng.uniform(0.5, FAULT_PERIOD_S) if self.plan.vanish else 1e9
        loop = asyncio.get_running_loop()
        while loop.time() < FAULT_PERIOD_S:
            await asyncio.sleep(0.25)
            for seq in self.server.in_flight():
                if self.rng.random() < self.injector.odds.again / 4:
                    self.server.redeliver(seq)
            for at in [at for at in drains if at < loop.time()]:
                drains.remove(at)
                self._drain(self.rng.choice(list(self.stops)))
            if vanish < loop.time() and self._vanish():
                vanish = 1e9

    def _drain(self, name: str) -> None:
        """SIGTERM: hand over, stop, and start again."""
        process = self.injector.processes[name]
        if not process.alive or name not in self.stops:
            return
        for event in self.stops[name]:
            event.set()
        asyncio.get_running_loop().call_later(3.0, self._replace, process, process.bus)

    def _replace(self, process: Process, bus: MemoryBus | None) -> None:
        if process.bus is bus:
            self.injector.crash(process, back_after=0.1)

    def _vanish(self) -> bool:
        """The message of the open claim's trigger is lost with its owner: an operator's purge, lost data."""
        claim = self.head.claim
        if claim is None or claim.trigger not in self.server.inbox or claim.trigger > self.head.taken.of(claim.source):
            return False  # untaken it would just be lost
        for process in self.injector.processes.values():
            if process.name.startswith("harness"):
                self.injector.crash(process)
        self.server.vanish(claim.trigger)
        return True

    # --- the schedule ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        injector = self.injector
        injector.immune = ("edge", *self.plan.steady)
        edge = injector.add("edge", self.edge).bus
        assert edge
        for number in range(self.plan.replicas):
            injector.add(f"harness-{number}", self.harness(f"harness-{number}"))
        for number in range(self.plan.workers):
            name, host = f"worker-{number}", f"host-{number % self.plan.hosts}"
            injector.add(name, self.worker(name, host=host))
        for number in range(self.plan.clocks):
            injector.add(f"clock-{number}", self.worker(f"clock-{number}", hand=CLOCK))
        await self.user.create(edge)
        others = [asyncio.create_task(self.user.client(edge)), asyncio.create_task(self.sweeper(edge))]
        user = self.user
        await asyncio.gather(user.act(edge), user.impatient(edge), user.patient(edge), self.inject_timed_faults())
        injector.end_faults()
        await self._settle(SETTLE_AFTER_LOSS_TIMEOUT_S if self.server.vanished else SETTLE_TIMEOUT_S)
        if self.plan.delete:
            # Everybody who began before the tombstone has given up.
            await user.erase(edge, snapshot=self.plan.last_pass)
        self._check_end()
        for task in others:
            task.cancel()
        for name, exc in injector.ended:
            self.observations.violation(f"{name} ended with {type(exc).__name__}: {exc}")
        for process in injector.processes.values():
            process.die()

    async def _settle(self, within: float) -> None:
        loop = asyncio.get_running_loop()
        deadline, calm = loop.time() + within, 0
        while calm < 3:
            if loop.time() > deadline:
                self.observations.violation(f"4: not settled within {within} s: {self._unsettled()}")
                return
            if self.observations.violations or self.injector.steps > 200_000:
                break
            await asyncio.sleep(1.0)
            calm = 0 if self._unsettled() else calm + 1
        if self.injector.steps > 200_000:
            self.observations.violation(f"4: it never settles: {self._unsettled()}")

    def _inbox(self) -> list[int]:
        return [r.seq for r in self.server.inbox.values() if r.key == self.key]

    def _unsettled(self) -> str:
        """The reasons why the session has not settled; empty if it has."""
        head = self.head
        ended = head.archived or head.deleted
        found = {
            "claim": head.claim,
            "inbox": self._inbox(),
            "calls": [] if ended else head.calls,
            "todo": [name for name, t in head.threads.items() if t.todo and not ended],
            "requests": [t.request for t in head.threads.values() if t.request and not ended],
            "status": head.status not in ("idle", "terminated"),
            "running": self.observations.running,
        }
        return ", ".join(f"{name} {value}" for name, value in found.items() if value)

    def _check_end(self) -> None:
        if self.head.deleted:
            self._check_erased()
            return
        events = [e for c in self.server.commits_of.get(self.key, []) for e in c.events]
        taken = [e.id for e in events if isinstance(e, ev.ClientEvent)]
        for lost in self.user.acknowledged - set(taken) - self.server.unread:
            self.observations.violation(f"1: the acknowledged input {lost} is lost")
        if len(taken) != len(set(taken)):
            self.observations.violation("1: an input is in the log twice")
        if self.head.archived:
            return
        calls = [e.id for e in events if isinstance(e, ev.AgentToolUse | ev.AgentCustomToolUse)]
        done = {e.tool_use_id for e in events if isinstance(e, ev.AgentToolResult)}
        done |= {e.custom_tool_use_id for e in events if isinstance(e, ev.UserCustomToolResult)}
        for open_ in set(calls) - done:
            self.observations.violation(f"3: call {open_} has no result")

    def _check_erased(self) -> None:
        """Nothing is left of the deleted session but its last commit (rule 29)."""
        left = {
            "commits": len(self.server.commits(self.key)) - 1,
            "inputs": len(self._inbox()),
            "bodies": len([key for key, _ in self.server.blobs if key == self.key]),
            "snapshots": len([name for name in self.server.buckets[SNAPSHOTS] if self.key.session in name]),
        }
        for name, count in left.items():
            if count:
                self.observations.violation(f"9: {count} {name} of the deleted session are left")


def schedule(seed: int, *, odds: Odds | None = None, given: Plan | None = None) -> Result:
    """Run one schedule in a loop of its own."""
    random.seed(seed)
    scenario = Scenario(seed, odds=odds, given=given)

    def hear(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        exc = event.get("exc_info")
        if event["event"] in ("consume.handler_failed", "delivery.failed", "bus.request_failed", "bus.listener_failed"):
            found = sys.exc_info()[1] if exc is True else exc
            # Faults cause retryable errors only. A handler that fails with another one would be called with the same
            # delivery again and again.
            if not (isinstance(found, BusError) and found.retryable):
                scenario.observations.violation(f"{event['event']}: {type(found).__name__}: {found}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        with clock_tools() if scenario.plan.clocks else contextlib.nullcontext():
            seconds = virtual_time.run(lambda: _timed(scenario), scenario.injector.on_task_created)
    finally:
        structlog.configure(**before)
    commits = len(scenario.server.log)
    return Result(
        seed, scenario.observations.violations, seconds, scenario.injector.steps, commits, scenario.injector.counts
    )


async def _timed(scenario: Scenario) -> float:
    await scenario.run()
    return asyncio.get_running_loop().time()


def story(seed: int, *, odds: Odds | None = None, given: Plan | None = None) -> str:
    """The log of a schedule as text, to examine a failure."""
    random.seed(seed)
    scenario = Scenario(seed, odds=odds, given=given)
    with clock_tools() if scenario.plan.clocks else contextlib.nullcontext():
        virtual_time.run(lambda: _timed(scenario), scenario.injector.on_task_created)
    lines = [f"plan {scenario.plan}", f"odds {scenario.injector.odds}"]
    for record in scenario.server.log:
        made = codec.decode_commit(record.data)
        claim = made.head.claim
        kinds = " ".join(ev.type_of(e).partition(".")[2] for e in made.events)
        lines.append(f"{record.stored_at:8.3f} {record.seq:3} {made.by:10} claim {claim and claim.trigger} {kinds}")
    return "\n".join([*lines, *scenario.observations.violations])
