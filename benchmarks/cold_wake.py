"""Waking a session that nobody holds in memory, by the length of its log; and a fresh process with a long one."""

import asyncio
import json
import time
from datetime import datetime

from benchmarks.bed import bed, idle, put, talks
from benchmarks.figure import Figure, Series, milliseconds
from services.bus import events as ev
from services.bus.client import NatsBus
from services.bus.commits import Stored, commit
from services.bus.ids import new_id
from tests.support.model import say
from tests.support.stack import Stack, key

LENGTHS = (100, 1_000, 10_000, 100_000)
TIMES = 20
SHARE = 2.0
"""The longest may take this many times as long as the shortest."""

STEP = 4
"""Events of one step: start, call, end, result."""

COMPACTED_EVERY = 400
"""Events between two summaries, as in a session whose context was full from time to time."""

LONG_STEPS = 5_000
WITHIN = 1.0
"""Seconds from the start of the loop to the model request."""


def measure() -> list[Figure]:
    with bed() as running:
        figures = asyncio.run(_by_length(running))
    with bed(harnesses=1) as running:
        return [*figures, asyncio.run(_fresh_process(running))]


async def grow(bus: NatsBus, session: str, length: int) -> None:
    """Append steps as a harness writes them until the log has that many events."""
    last = await bus.head(key(session), leader=True)
    assert last
    while last.commit.head.count < length:
        span, call = new_id("sevt"), new_id("sevt")
        usage = ev.ModelUsage(input_tokens=100, output_tokens=20)
        content = [{"type": "text", "text": f"line {last.seq}\n" * 5}]
        events: list[ev.Event] = [
            ev.ModelRequestStart(id=span),
            ev.AgentToolUse(
                id=call, request=span, name="bash", input={"command": "cat notes"}, evaluated_permission="allow"
            ),
            ev.ModelRequestEnd(id=new_id("sevt"), model_request_start_id=span, model_usage=usage, stop="tool_use"),
            ev.AgentToolResult(id=new_id("sevt"), tool_use_id=call, content=content),
        ]
        if last.commit.head.count % COMPACTED_EVERY < STEP:
            events.append(ev.AgentContextCompacted(id=new_id("sevt"), summary="Some lines were read."))
        events.append(ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=ev.StopReason("end_turn")))
        made = commit(last, events, by="bench", now=time.time_ns() // 1000)
        last = Stored(await bus.append(key(session), made, last.seq), made)


async def _turns(bus: NatsBus, session: str) -> int:
    log = await bus.read(key(session))
    return sum(isinstance(e, ev.SessionStatusIdle) for stored in log for e in stored.commit.events)


async def _by_length(running: Stack) -> list[Figure]:
    medians: dict[int, Series] = {}
    async with talks(running, len(LENGTHS)) as sessions, running.bus("session") as bus:
        floor = milliseconds(await _gets(bus, sessions[0].id))
        for talk, length in zip(sessions, LENGTHS, strict=True):
            mark = await running.model.play({"repeat": TIMES + 1, **say("Awake.")})
            await grow(bus, talk.id, length)
            turns = await _turns(bus, talk.id)
            began: list[float] = []
            for turn in range(TIMES + 1):
                began.append(await put(bus, talk.id, mark))
                await idle(running, talk.id, turns + turn + 1)
            records = await running.model.requests(mark)
            # The first wake finds no snapshot, because this log was not written by a harness; it leaves one.
            medians[length] = milliseconds([r.received - b for r, b in zip(records, began, strict=True)][1:])
    figures = [
        Figure(name=f"cold wake, {n:,} events", measured=s, floor=floor, floor_name="direct get")
        for n, s in medians.items()
    ]
    shortest, longest = medians[LENGTHS[0]], medians[LENGTHS[-1]]
    figures[-1].aim, figures[-1].met = "≤ twice 100 events", longest.median <= SHARE * shortest.median
    return figures


async def _gets(bus: NatsBus, session: str) -> list[float]:
    took: list[float] = []
    for _ in range(200):
        began = time.perf_counter()
        await bus.head(key(session))
        took.append(time.perf_counter() - began)
    return took


async def _fresh_process(running: Stack) -> Figure:
    took: list[float] = []
    async with talks(running, 1) as (talk,), running.bus("session") as bus:
        await grow(bus, talk.id, LONG_STEPS * STEP)
        mark = await running.model.play({"repeat": 20, **say("Awake.")})
        turns = await _turns(bus, talk.id)
        for turn in range(5):
            old = running.kill("harness-1")
            await put(bus, talk.id, mark)
            await running.replaced("harness-1", old)
            record = (await running.model.requests(mark, count=turn + 1, within=60))[turn]
            took.append(record.received - _ready(running))
            await idle(running, talk.id, turns + turn + 1)
    values = Series(took, "s")
    return Figure(
        name=f"fresh harness, {LONG_STEPS:,} steps → model request", measured=values, aim="≤ 1 s",
        met=values.p95 <= WITHIN, note=f"the first, without a snapshot: {took[0]:.2f} s",
    )  # fmt: skip


def _ready(running: Stack) -> float:
    """When the last harness process said that it is ready (Unix seconds)."""
    lines = (running.data / "logs" / "harness-1.log").read_text().splitlines()
    ready = [json.loads(line) for line in lines if '"ready"' in line]
    return datetime.fromisoformat(ready[-1]["timestamp"]).timestamp()
