"""Tasks of other systems: from the publish of one to its session at work, and how many a second become sessions.

`running` counts from before the publish to the commit in which the session runs, as a reader of the log hears of it.
The rate is that of a flood that its binding lets in at once; the turns of its sessions are part of the work. A waiting
task is one that its binding lets in only when another has ended: the time from that end to the start of the next.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from benchmarks.result import Row, at_least, at_most, spread
from benchmarks.rig import MODEL, Bench, Rig, ms, publishes, run
from holdfast.bus import events as ev
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.eventually import eventually
from tests.support.model import say

TITLE = "tasks over NATS: published to running, tasks a second, and one that waits"

AT_ONCE = 64
"""Publishes in flight."""

MOST_OPEN = 1_000


@asynccontextmanager
async def _publisher(rig: Rig) -> AsyncGenerator[Client]:
    login = json.loads(Path(rig.stack.run.credentials["publisher"]).read_text())  # noqa: ASYNC240  once, a few bytes
    client = await nats.connect(rig.stack.run.nats_url, inbox_prefix=b"_INBOX_publisher", **login)
    try:
        yield client
    finally:
        await client.close()


async def _bind(rig: Rig, scenario: str, most: int, **fields: Any) -> str:
    """A new kind, whose tasks play that scenario."""
    kind = new_id("kind").replace("_", "-")
    async with rig.client() as client:
        agent = await client.beta.agents.create(model=MODEL, name=kind)
        environment = await client.beta.environments.create(name=kind)
        body = {
            "kind": kind, "agent": agent.id, "environment_id": environment.id, "max_open": most,
            "message": f"[play:{scenario}] {{{{n}}}}", **fields,
        }  # fmt: skip
        await client.post("/v1/bindings", cast_to=object, body=body)
    return kind


class _Statuses:
    """When sessions were heard to run and to rest, in the order of the log."""

    def __init__(self, bus: NatsBus) -> None:
        self.running: list[float] = []
        self.idle: list[float] = []
        self._bus = bus

    async def follow(self) -> None:
        async with aclosing(self._bus.log.follow(FIRST_CELL)) as batches:
            async for batch in batches:
                now = time.perf_counter()
                for _, stored in batch:
                    for event in stored.commit.events:
                        if isinstance(event, ev.SessionStatusRunning):
                            self.running.append(now)
                        elif isinstance(event, ev.SessionStatusIdle):
                            self.idle.append(now)


async def _publish(client: Client, kind: str, n: int) -> None:
    await client.jetstream().publish(f"task.default.{kind}", json.dumps({"n": n}).encode())


async def _one_by_one(client: Client, kind: str, statuses: _Statuses, count: int) -> list[float]:
    """Seconds from the publish of a task to its session running."""
    found: list[float] = []
    for n in range(count + 10):
        before, rested = len(statuses.running), len(statuses.idle)
        begin = time.perf_counter()
        await _publish(client, kind, n)
        await eventually(lambda at=before: _reached(statuses.running, at + 1), what="a running session", within=20)
        found.append(statuses.running[before] - begin)
        await eventually(lambda at=rested: _reached(statuses.idle, at + 1), what="its end", within=20)
    return found[10:]


async def _reached(times: list[float], count: int) -> bool:
    return len(times) >= count


async def _flood(client: Client, kind: str, statuses: _Statuses, count: int) -> list[float]:
    """Sessions a second that begin to run, in ten slices. Returns when all of them rest again."""
    before, rested = len(statuses.running), len(statuses.idle)
    for part in range(0, count, AT_ONCE):
        await asyncio.gather(*(_publish(client, kind, n) for n in range(part, min(part + AT_ONCE, count))))
    await eventually(lambda: _reached(statuses.running, before + count), what="all sessions", within=300)
    await eventually(lambda: _reached(statuses.idle, rested + count), what="their ends", within=300)
    times = statuses.running[before : before + count]
    cuts = times[:: max(1, count // 10)]
    return [count // 10 / (later - at) for at, later in pairwise(cuts) if later > at]


async def _waiting(client: Client, kind: str, statuses: _Statuses, count: int) -> list[float]:
    """Seconds from the end of a turn to the start of the task that has waited for its place."""
    running, idle = len(statuses.running), len(statuses.idle)
    await asyncio.gather(*(_publish(client, kind, n) for n in range(count)))
    await eventually(lambda: _reached(statuses.idle, idle + count), what="all turns", within=120)
    begins, ends = statuses.running[running:], statuses.idle[idle:]
    return [begin - end for end, begin in zip(ends[:-1], begins[1:], strict=True)]


async def _measure(rig: Rig) -> list[Row]:
    scenario = await rig.scenario(say("Good."))
    floor = spread(ms(await publishes(rig, rig.options.count(500, 100))))
    async with rig.bus() as bus, _publisher(rig) as client:
        statuses = _Statuses(bus)
        following = asyncio.create_task(statuses.follow())
        try:
            many, single = await _bind(rig, scenario, MOST_OPEN), await _bind(rig, scenario, 1)
            paced = spread(ms(await _one_by_one(client, many, statuses, rig.options.count(200, 20))))
            ignored = await _bind(rig, scenario, 1, when={"n": ["never"]})
            raw = await _raw_rate(client, ignored, rig.options.count(2_000, 200))
            rates = spread(await _flood(client, many, statuses, rig.options.count(2_000, 100)), rate=True)
            waited = spread(ms(await _waiting(client, single, statuses, rig.options.count(100, 10))))
        finally:
            following.cancel()
    publishing = "one publish, acknowledged"
    return [
        Row(
            name="task published to session running", unit="ms", found=paced, floor=floor, floor_name=publishing,
            aims=[at_most("p50 at most 5 ms", paced.p50, 5)],
        ),
        Row(
            name="tasks of a flood that become sessions, with their turns", unit="1/s", found=rates,
            floor=spread([raw], rate=True), floor_name=f"publishes of tasks, {AT_ONCE} at once",
            aims=[at_least("at least 500", rates.p50, 500)],
        ),
        Row(name="end of a turn to the task that waited", unit="ms", found=waited, floor=floor, floor_name=publishing),
    ]  # fmt: skip


async def _raw_rate(client: Client, kind: str, count: int) -> float:
    """Publishes a second of tasks that their binding does not want."""
    begin = time.perf_counter()
    for part in range(0, count, AT_ONCE):
        await asyncio.gather(*(_publish(client, kind, n) for n in range(part, min(part + AT_ONCE, count))))
    return count / (time.perf_counter() - begin)


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        return run(lambda: _measure(rig))
