"""One tool step: the model's answer ends, `echo` runs in the sandbox, the next model request arrives."""

import asyncio
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.bed import bed, by_step, idle, talks
from benchmarks.figure import Figure, Series, milliseconds
from services.bus.ids import Key, new_id, new_session_id
from services.sandbox.drivers import make_driver
from services.sandbox.settings import SandboxSettings
from tests.support.model import bash, say
from tests.support.stack import Stack

STEPS = 300
WARM_UP = 10
MOST, MOST_P99 = 5.0, 15.0
"""Milliseconds."""


def measure() -> list[Figure]:
    floor = asyncio.run(_floor())
    with bed() as running:
        return asyncio.run(_measure(running, floor))


async def _measure(running: Stack, floor: Series) -> list[Figure]:
    async with talks(running, 1) as (talk,):
        mark = await running.model.play({"repeat": STEPS + WARM_UP, **bash("echo x")}, say("Done."))
        await talk.say(mark)
        await idle(running, talk.id, 1)
        records = by_step(await running.model.requests(mark))
    pairs = pairwise([records[n] for n in sorted(records)][WARM_UP:])
    values = milliseconds([after.received - before.last_byte for before, after in pairs])
    p99 = values.at(0.99)
    return [
        Figure(
            name="tool step, `echo`",
            measured=values,
            floor=floor,
            floor_name="one call in the box",
            aim="p50 ≤ 5 ms, p99 ≤ 15 ms",
            met=values.median <= MOST and p99 <= MOST_P99,
            note=f"p99 {p99:.1f} ms",
        )
    ]


async def _floor() -> Series:
    """The same command through the stream of one sandbox, with nothing else around it."""
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        driver = make_driver(SandboxSettings(data_dir=str(Path(folder)), allow_weak_limits=True))
        await driver.open(new_id("wrk"))
        box = await driver.create(Key("bench", new_session_id()), new_id("gen"))
        for _ in range(STEPS):
            began = time.perf_counter()
            await box.run(new_id("call"), "bash", {"command": "echo x"})
            took.append(time.perf_counter() - began)
        await box.kill("measured")
        await driver.close()
    return milliseconds(took[WARM_UP:])
