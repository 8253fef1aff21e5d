"""A storm of hostile sessions beside ordinary ones, which must hardly notice.

`python -m tests.faults.hostile --minutes 30` first times the tool steps of neighbours alone, then with hostile sessions
beside them: fork bombs, full disks, floods of messages, endless answers of a model, drawn at a random seed, which it
prints. It ends with 1 if a neighbour lost its shell, its sandbox or an event, if a process was started again, if a turn
was given up, or if the 95th percentile of a neighbour's tool steps more than doubled. `--only "fork bomb"` repeats one
attack.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

import psutil
from anthropic import AsyncAnthropic
from msgspec import Struct, field

from holdfast.bus import subjects
from holdfast.bus.ids import FIRST_CELL
from holdfast.sandbox.placement import BUCKET
from holdfast.sandbox.settings import SandboxSettings
from tests.faults import step_times
from tests.faults.attackers import Attacker, deck
from tests.faults.attacks import ATTACKS
from tests.faults.neighbours import Neighbour, work
from tests.faults.step_times import Interval, Step
from tests.support.eventually import eventually
from tests.support.invariants import no_secret_leaked
from tests.support.stack import Stack, stack

MOST_GROWTH: Final = 2.0
"""A neighbour's 95th percentile may be this many times that of all neighbours without attacks."""

MEMORY_POLL_S: Final = 2.0
"""Seconds between two looks at the memory of the services."""

PROGRESS_S: Final = 60.0
"""Seconds between two lines that say how far the storm is."""

REMOVED_WITHIN_S: Final = 120.0
"""Seconds within which the worker has removed the files of deleted sessions: up to half a million."""


class Hostile(Struct, kw_only=True):
    """`neighbours` ordinary sessions at a time, and `attackers` hostile ones beside them."""

    stack: Stack
    seed: int
    neighbours: int = 4
    attackers: int = 3
    only: str = ""
    """Name of the only attack; empty: all of them."""
    complaints: list[str] = field(default_factory=list)
    floor: list[Step] = field(default_factory=list)
    """Tool steps of all neighbours before the first attack."""
    steps: list[list[Step]] = field(default_factory=list)
    """Tool steps of each neighbour beside the attacks."""
    attacks: list[Interval] = field(default_factory=list)
    sessions: int = 0
    """Sessions of neighbours that are over and were checked."""
    events: int = 0
    """Events in their logs."""
    running: list[str] = field(default_factory=list)
    """Names of the attacks that run now."""
    deleted: list[str] = field(default_factory=list)
    """Ids of the sessions of both sides that were deleted after their checks."""
    memory: dict[str, int] = field(default_factory=dict)
    """Most resident bytes of each process of the stack."""

    async def run(self, floor_s: float, seconds: float) -> None:
        """Neighbours alone for `floor_s`, then `seconds` of attacks beside them."""
        before = await self._processes()
        async with self.stack.client() as client:
            mark = await self.stack.model.play(*work())
            self.floor = [step for steps in await self._phase(client, mark, floor_s, 0) for step in steps]
            self.steps = await self._phase(client, mark, seconds, self.attackers)
        after = await self._processes()
        if after != before:
            self.complain(f"processes were started again: {before} before, {after} after")
        try:
            await eventually(self._removed, within=REMOVED_WITHIN_S, what="the files of deleted sessions are gone")
            no_secret_leaked(self.stack)
        except AssertionError as exc:
            self.complain(str(exc))

    async def _removed(self) -> bool:
        """Whether the host has no workspace of a deleted session any more."""
        kept = {folder.name for folder in (self.stack.data / "sandbox").glob("workspaces/*/*")}
        return not kept.intersection(self.deleted)

    def complain(self, what: str) -> None:
        """Keep and print what is wrong, with the attacks that run now."""
        beside = f" [beside: {', '.join(self.running) or 'nothing'}]"
        self.complaints.append(what + beside)
        _say(f"{time.strftime('%H:%M:%S')} {what}{beside}")

    async def _phase(self, client: AsyncAnthropic, mark: str, seconds: float, attackers: int) -> list[list[Step]]:
        """The tool steps of each neighbour during `seconds` beside so many attackers."""
        until = time.monotonic() + seconds
        near = [
            Neighbour(
                stack=self.stack, client=client, mark=mark, number=number, complain=self.complain, deleted=self.deleted
            )
            for number in range(self.neighbours)
        ]  # fmt: skip
        chosen = [attack for attack in ATTACKS if self.only in ("", attack.name)]
        attacks = deck(self.seed, chosen)
        watched = self._watched(until)
        async with self.stack.bus() as bus, watched, asyncio.TaskGroup() as tasks:
            foes = [
                Attacker(
                    stack=self.stack, client=client, bus=bus, attacks=attacks, complain=self.complain,
                    running=self.running, deleted=self.deleted,
                )
                for _ in range(attackers)
            ]  # fmt: skip
            for one in (*near, *foes):
                tasks.create_task(one.live(until))
        self.attacks += [interval for foe in foes for interval in foe.done]
        self.sessions += sum(one.sessions for one in near)
        self.events += sum(one.events for one in near)
        return [one.steps for one in near]

    async def _processes(self) -> dict[str, object]:
        """What is new after a restart: the id of each process of the stack, and the ids of the registered workers."""
        async with self.stack.bus() as bus:
            workers = await bus.kv.list(BUCKET, subjects.worker_keys(FIRST_CELL))
        return {**self.stack.run.processes, "workers": sorted(entry.key for entry in workers)}

    @contextlib.asynccontextmanager
    async def _watched(self, until: float) -> AsyncGenerator[None]:
        """Look at the memory of the processes again and again, and say how far the storm is."""

        async def watch() -> None:
            told = time.monotonic()
            while True:
                for name, pid in self.stack.run.processes.items():
                    with contextlib.suppress(psutil.Error):
                        self.memory[name] = max(self.memory.get(name, 0), psutil.Process(pid).memory_info().rss)
                if time.monotonic() > told + PROGRESS_S:
                    told += PROGRESS_S
                    beside = ", ".join(self.running) or "nothing"
                    _say(f"{time.strftime('%H:%M:%S')} {max(until - told, 0) / 60:.0f} min left; beside: {beside}")
                await asyncio.sleep(MEMORY_POLL_S)

        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()

    def growth(self) -> list[float]:
        """How many times the 95th percentile of the floor that of each neighbour is."""
        floor = step_times.percentile(self.floor, 0.95)
        return [step_times.percentile(steps, 0.95) / floor for steps in self.steps]

    def report(self) -> None:
        """Print what was measured."""
        _say(f"{self.sessions} sessions of neighbours checked, {self.events} events; {len(self.attacks)} attacks")
        _say(f"floor: {step_times.described(self.floor)}")
        for number, (steps, times) in enumerate(zip(self.steps, self.growth(), strict=True)):
            _say(f"neighbour {number}: {step_times.described(steps)}: {times:.2f} times the floor")
        everybody = [step for steps in self.steps for step in steps]
        for name in sorted({interval.name for interval in self.attacks}):
            of_name = [interval for interval in self.attacks if interval.name == name]
            _say(f"  beside {len(of_name)} x {name}: {step_times.described(step_times.beside(everybody, of_name))}")
        sizes = ", ".join(f"{name} {size >> 20}" for name, size in sorted(self.memory.items()))
        _say(f"most memory in MiB: {sizes}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str]) -> int:
    """Run a storm and print what it was. 0 if no neighbour noticed more than it may."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long attacks last (default: 5)")
    parser.add_argument("--floor", type=float, help="minutes without attacks before (default: a fifth, 1 to 5)")
    parser.add_argument("--seed", type=int, help="of the order of the attacks (default: a random one)")
    parser.add_argument("--neighbours", type=int, default=4, help="ordinary sessions at the same time (default: 4)")
    parser.add_argument("--attackers", type=int, default=3, help="hostile sessions at the same time (default: 3)")
    parser.add_argument("--only", default="", choices=["", *(attack.name for attack in ATTACKS)], metavar="ATTACK")
    given = parser.parse_args(argv)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**9)
    floor = given.floor if given.floor is not None else min(5.0, max(1.0, given.minutes / 5))
    environ = {"HOLDFAST_LEASE": str(SandboxSettings().lease)}  # that of users, not the short one of tests
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder, stack(Path(folder), environ=environ) as running:
        storm = Hostile(
            stack=running, seed=seed, neighbours=given.neighbours, attackers=given.attackers, only=given.only
        )
        _say(f"{given.minutes:g} minutes at seed {seed} in {folder}, after {floor:g} without attacks")
        asyncio.run(storm.run(floor * 60, given.minutes * 60))
        storm.report()
        running.stop()
    slow = [number for number, times in enumerate(storm.growth()) if times > MOST_GROWTH]
    if slow:
        storm.complain(f"the 95th percentile of neighbours {slow} is over {MOST_GROWTH:g} times the floor")
    _say("\n".join(["", "Wrong:", *storm.complaints]) if storm.complaints else "No neighbour noticed more than it may.")
    return 1 if storm.complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
