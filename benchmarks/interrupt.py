"""Stopping and steering: an interrupt in the middle of a model answer, a message in the middle of a tool call."""

import asyncio
import random
import time
from typing import Any

from anthropic import AsyncAnthropic

from benchmarks.result import Row, at_least, at_most, spread
from benchmarks.rig import Bench, Rig, ms, new_mark, publishes, rested, run, said, session_key
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from tests.support.model import bash, say

TITLE = "interrupt to closed model connection (ms); messages sent during a tool call"

ANSWER = "word " * 400
DELAY = 0.02
"""Seconds between two tokens: about 8 s in all."""

BUSY = 0.4
"""Seconds that the tool call takes."""


async def _started(bus: NatsBus, key: Key, after: int, kind: str) -> int:
    """Wait for the first commit above `after` with an event of that type, and return its sequence."""
    async for stored in bus.log.tail(key, after):
        if stored and any(e.__struct_config__.tag == kind for e in stored.commit.events):
            return stored.seq
    raise AssertionError("a tail does not end")


async def _interrupts(rig: Rig, client: AsyncAnthropic, bus: NatsBus) -> Row:
    slow = await rig.scenario(say(ANSWER, delay=DELAY))
    answered: list[float] = []
    sent: list[float] = []
    (session,) = await rig.sessions(client, 1)
    key, at = session_key(session), 0
    stop: Any = [{"type": "user.interrupt"}]
    for number in range(rig.options.count(100, 8)):
        mark = new_mark()
        events: Any = [said(slow, mark)]
        if number % 20 == 19:  # a fresh session: the history of the old one has grown
            (session,) = await rig.sessions(client, 1)
            key, at = session_key(session), 0
        await client.beta.sessions.events.send(session, events=events)
        await rig.records(mark, count=1)
        await asyncio.sleep(random.uniform(0.1, 0.4))
        begin = time.time()
        await client.beta.sessions.events.send(session, events=stop)
        end = time.time()
        (record,) = await rig.records(mark, ended=1)
        assert record.closed, record
        answered.append(max(0.0, record.ended - end))
        sent.append(record.ended - begin)
        at = await rested(bus, key, at)
    floor = spread(ms(await publishes(rig, rig.options.count(300, 50))))
    found, whole = spread(ms(answered)), spread(ms(sent))
    aims = [at_most("p95 at most 100", found.p95, 100)]
    return Row(
        name="interrupt answered to model connection closed", unit="ms", found=found, floor=floor,
        floor_name="one publish", aims=aims, note=f"from sending it: p50 {whole.p50:.1f}, p95 {whole.p95:.1f}",
    )  # fmt: skip


async def _steered(rig: Rig, client: AsyncAnthropic, bus: NatsBus) -> Row:
    """A message sent while a tool runs must be in the request that follows the tool's result."""
    scenario = await rig.scenario(bash(f"sleep {BUSY}"), say("Done."))
    contained: list[float] = []
    (session,) = await rig.sessions(client, 1)
    key, at = session_key(session), 0
    for _ in range(rig.options.count(60, 5)):
        mark, note = new_mark(), new_mark()
        first: Any = [said(scenario, mark)]
        second: Any = [{"type": "user.message", "content": [{"type": "text", "text": f"Mind this. [play:{note}]"}]}]
        await client.beta.sessions.events.send(session, events=first)
        called = await _started(bus, key, at, "agent.tool_use")
        await asyncio.sleep(random.uniform(0, BUSY * 0.8))
        await client.beta.sessions.events.send(session, events=second)
        records = await rig.records(mark, count=2, ended=2)
        contained.append(1.0 if note in records[1].marks else 0.0)
        at = await rested(bus, key, called)
    await rig.forget(client, [session])
    share = sum(contained) / len(contained)
    return Row(
        name="messages sent during a tool call, in the next request", unit="share", found=spread(contained),
        aims=[at_least("always", share, 1.0)], note=f"{int(sum(contained))} of {len(contained)}",
    )  # fmt: skip


async def _measure(rig: Rig) -> list[Row]:
    async with rig.client() as client, rig.bus() as bus:
        return [await _interrupts(rig, client, bus), await _steered(rig, client, bus)]


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
