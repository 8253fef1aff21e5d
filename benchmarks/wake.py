"""Waking a session that no process knows: from the input's publish to the model request, by the length of its log.

A harness keeps nothing of a session that rests, so every delivery finds it cold. The logs are those of `history`.
"""

import asyncio
import datetime as dt
import json
import signal
import time
from pathlib import Path
from typing import Any

from benchmarks.history import TURN, History
from benchmarks.result import Row, Spread, at_most, spread
from benchmarks.rig import MODEL, Bench, Rig, message, ms, new_mark, rested, run, said, session_key
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from tests.support.eventually import eventually
from tests.support.model import say

TITLE = "wake of a cold session: input to model request, by events in its log (ms)"

RECENT = 90
"""Events since the last summary, so that all sizes send the model about the same."""

LONG = 1500
"""The same for a context that is half full: some 80,000 tokens."""

PLAN = ((100, RECENT, 12, 2), (1_000, RECENT, 8, 3), (10_000, RECENT, 3, 8), (100_000, RECENT, 1, 24),
        (100_000, LONG, 1, 24))  # fmt: skip
QUICK = ((100, RECENT, 3, 2), (1_000, RECENT, 2, 3))
"""Events, of them since the last summary, sessions, wakes of each."""

STEPS = 5_000
FRESH = 5
"""Starts of a harness process."""


async def _begun(bus: NatsBus, writer: NatsBus, key: Key, scenario: str) -> History:
    """A first turn by the real harness, and `writer` to go on behind it."""
    await bus.inbox.put(key, message(scenario))
    await rested(bus, key, 0)
    return await History.open(writer, key)


async def _wake(rig: Rig, bus: NatsBus, key: Key, scenario: str, after: int) -> tuple[float, int]:
    """Seconds from before the publish to the model request, and where the session rests then."""
    mark = new_mark()
    begin = time.time()
    await bus.inbox.put(key, message(scenario, mark))
    at = await rested(bus, key, after)
    # The log was written behind the back of the harness: a claim by what it kept drops its first request (rule 6).
    answered = (await rig.records(mark, count=1, ended=1))[-1]
    return answered.received - begin, at


async def _gets(bus: NatsBus, key: Key, count: int) -> Spread:
    """The floor: one direct get of the last message."""
    found: list[float] = []
    for _ in range(count):
        begin = time.perf_counter()
        await bus.log.head(key)
        found.append(time.perf_counter() - begin)
    return spread(ms(found[count // 10 :]))


async def _posts(rig: Rig, scenario: str, tokens: int, count: int) -> Spread:
    """What the request alone costs: the SDK posts a context of that size to the model."""
    mark = new_mark()
    filler = [{"type": "text", "text": "x" * 1000} for _ in range(tokens * 4 // 1000)]
    body: Any = {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": [*said(scenario, mark)["content"], *filler]}],
    }
    begun: list[float] = []
    async with rig.direct() as model:
        for _ in range(count):
            begun.append(time.time())
            async for _ in await model.messages.create(**body, stream=True):
                pass
    records = await rig.records(mark, ended=count)
    return spread(ms([r.received - b for r, b in zip(records, begun, strict=True)][1:]))


async def _sizes(rig: Rig) -> list[Row]:
    rows: list[Row] = []
    scenario = await rig.scenario(say("Good."))
    plan = QUICK if rig.options.quick else PLAN
    short = 0.0
    async with rig.client() as client, rig.bus() as bus, rig.bus("harness") as writer:
        for events, context, count, wakes in plan:
            keys = [session_key(s) for s in await rig.sessions(client, count)]
            logs = [await _begun(bus, writer, key, scenario) for key in keys]
            await asyncio.gather(*(log.grow(events, context=context) for log in logs))
            found: list[float] = []
            for key, log in zip(keys, logs, strict=True):
                at = log.seq
                for _ in range(wakes):
                    seconds, at = await _wake(rig, bus, key, scenario, at)
                    found.append(seconds)
            measured = spread(ms(found))
            floor, name, aims = await _gets(bus, keys[0], rig.options.count(200, 50)), "direct get", []
            if events == plan[0][0]:
                short = measured.p50
            elif context == LONG:
                head = await bus.log.head(keys[0])
                tokens = head.commit.head.primary.context_tokens if head else 0
                floor, name = await _posts(rig, scenario, tokens, 20), f"SDK post of {tokens:,} tokens"
            elif events == 100_000:
                aims = [at_most("at most 2 times 100 events", measured.p50 / short, 2)]
            what = f"{events:,} events" + (", context half full" if context == LONG else "")
            rows.append(Row(name=what, unit="ms", found=measured, floor=floor, floor_name=name, aims=aims))
    return rows


def _ready_at(log: Path, after: float) -> float:
    """When the harness that started last began its loop, in Unix seconds; 0: not since `after`."""
    found = 0.0
    for line in log.read_text().splitlines():
        if '"event": "ready"' in line:
            found = dt.datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
    return found if found > after else 0.0


async def _fresh(rig: Rig) -> list[Row]:
    """Kill the only harness, give the session an input while there is none, and let the supervisor start another."""
    steps = rig.options.count(STEPS, 200)
    loops: list[float] = []
    async with rig.client() as client, rig.bus() as bus, rig.bus("harness") as writer:
        scenario = await rig.scenario(say("Good."))
        (session,) = await rig.sessions(client, 1)
        key = session_key(session)
        history = await _begun(bus, writer, key, scenario)
        for _ in range(-(-steps // TURN)):
            await history.turn()
        at = history.seq
        log = rig.stack.data / "logs" / "harness-1.log"
        for _ in range(rig.options.count(FRESH, 1)):
            mark = new_mark()
            killed = time.time()
            old = rig.stack.signal("harness-1", signal.SIGKILL)
            await bus.inbox.put(key, message(scenario, mark))
            await rig.stack.replaced("harness-1", old)
            (record,) = await rig.records(mark, count=1, ended=1)
            at = await rested(bus, key, at)

            async def look(since: float = killed) -> float:
                return _ready_at(log, since)

            loops.append(record.received - await eventually(look, what="the harness is ready"))
        floor = await _gets(bus, key, rig.options.count(200, 50))
    found = spread(ms(loops))
    return [
        Row(name=f"fresh process, session of {steps:,} steps: loop starts to model request", unit="ms", found=found,
            floor=floor, floor_name="direct get", aims=[at_most("within 1,000", found.most, 1000)])
    ]  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        rows = run(lambda: _sizes(rig))
    with bench.rig(harnesses=1, own=True) as rig:
        return rows + run(lambda: _fresh(rig))
