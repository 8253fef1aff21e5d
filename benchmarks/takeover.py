"""kill -9 of the harness that drives a session, until the model is asked again by another."""

import asyncio
import time

from benchmarks.bed import bed, idle, talks
from benchmarks.figure import Figure, Series
from services.bus.streams import ACK_WAIT
from tests.support.model import say
from tests.support.stack import Stack

TIMES = 20
SLACK = 0.3
"""Seconds over ack_wait."""


def measure() -> list[Figure]:
    with bed() as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    took: list[float] = []
    async with talks(running, 1) as (talk,):
        for turn in range(TIMES):
            gate = f"kill{turn}"
            mark = await running.model.play(say("one two three", gates=[{"name": gate, "after": 1}]))
            await talk.say(mark)
            await running.model.reached(gate)
            driver = await running.driver(talk.id)
            killed = time.time()
            old = running.kill(driver)
            await running.model.reached(gate, 2)
            took.append((await running.model.requests(mark))[1].received - killed)
            await running.model.release(gate)
            await idle(running, talk.id, turn + 1)
            await running.replaced(driver, old)
    values = Series(took, "s")
    return [
        Figure(
            name="kill -9 of the driver → next model request",
            measured=values,
            floor=Series([ACK_WAIT], "s"),
            floor_name="ack_wait",
            aim="p95 ≤ ack_wait + 0.3 s",
            met=values.p95 <= ACK_WAIT + SLACK,
        )
    ]
