"""Turns a second with 1, 2, 4 and 8 harness processes of two sessions at once each, and a model that takes 100 ms.

There are always more sessions with an input than places. So the rate is that of the harnesses until the cores are full:
how busy they were stands beside it. The floor is the rate of one process, times their number.
"""

import asyncio
import time

import psutil

from benchmarks.result import Row, Spread, at_least, spread
from benchmarks.rig import Bench, Rig, message, rested, run, session_key
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from tests.support.model import say

TITLE = "turns a second with more harness processes, a model of 100 ms"

PROCESSES = (1, 2, 4, 8)
PLACES = 2
"""Sessions that one process drives at once."""

FULL = 85.0
"""Percent of all cores from which on more processes cannot help."""


async def _measure(rig: Rig, sessions: int) -> tuple[Spread, float]:
    """Turns a second in slices of a second, and the percentage of all cores that was in use."""
    scenario = await rig.scenario(say("Good.", ttft=0.1))
    seconds, ends = rig.options.count(15, 4), list[float]()
    async with rig.client() as client, rig.bus() as bus:
        keys = [session_key(session) for session in await rig.sessions(client, sessions, tools=False)]
        running = [asyncio.create_task(_turns(bus, key, scenario, ends)) for key in keys]
        await asyncio.sleep(2)  # all sessions have had a turn, or wait for one
        psutil.cpu_percent()
        begin = time.monotonic()
        await asyncio.sleep(seconds)
        busy = psutil.cpu_percent()
        for one in running:
            one.cancel()
        await asyncio.wait(running)
    failed = [one.exception() for one in running if not one.cancelled()]
    assert not any(failed), failed
    slices = [sum(begin + at <= end < begin + at + 1 for end in ends) for at in range(seconds)]
    return spread(slices, rate=True), busy


async def _turns(bus: NatsBus, key: Key, scenario: str, ends: list[float]) -> None:
    """One turn after the other, until cancelled."""
    at = 0
    while True:
        await bus.inbox.put(key, message(scenario))
        at = await rested(bus, key, at)
        ends.append(time.monotonic())


def figure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    alone = 0.0
    for count in PROCESSES:
        with bench.rig(harnesses=count, environ={"HOLDFAST_SESSIONS": str(PLACES)}, own=True) as rig:
            found, busy = run(lambda rig=rig, count=count: _measure(rig, 3 * PLACES * count))
        alone = alone or found.p50
        aims = [at_least("at least 0.9 of it", found.p50 / (alone * count), 0.9)] if count > 1 and busy < FULL else []
        rows.append(
            Row(
                name=f"{count} process{'es' if count > 1 else ''}, cores {busy:.0f} % busy", unit="1/s", found=found,
                floor=spread([alone * count], rate=True), floor_name="one process, times their number", aims=aims,
            )
        )  # fmt: skip
    return rows
