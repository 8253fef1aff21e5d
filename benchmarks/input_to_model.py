"""From an input stored to the model's request received, in a session that has been used before."""

import asyncio

from benchmarks.bed import Turns, bed, publish_times, put, talks
from benchmarks.figure import Figure, milliseconds
from tests.support.model import say
from tests.support.stack import Stack

TURNS = 200
WARM_UP = 10
MOST = 4.0
"""Milliseconds."""


def measure() -> list[Figure]:
    with bed() as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    async with talks(running, 1) as (talk,), running.bus("session") as bus, Turns(bus, talk.id) as turns:
        floor = milliseconds(await publish_times(bus))
        mark = await running.model.play({"repeat": TURNS + WARM_UP + 1, **say("Yes.")})
        began: list[float] = []
        for turn in range(TURNS + WARM_UP):
            began.append(await put(bus, talk.id, mark))
            await turns.ended(turn + 1)
        records = await running.model.requests(mark)
    values = milliseconds([r.received - b for r, b in zip(records, began, strict=True)][WARM_UP:])
    return [
        Figure(
            name="input published → model request, warm session",
            measured=values,
            floor=floor,
            floor_name="one publish",
            aim="p50 ≤ 4 ms",
            met=values.median <= MOST,
        )
    ]
