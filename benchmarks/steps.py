"""Steps per second with many sessions at work: a model answer and a tool call, both in the log."""

import asyncio
import time
from typing import Any

from anthropic import AsyncAnthropic

from benchmarks.bed import bed, idle, talks
from benchmarks.figure import Figure, Series
from services.bus.ids import FIRST_CELL
from services.bus.nats_link import Link
from services.bus.streams import log_stream
from services.process.settings import credentials
from tests.support.model import bash, said, say
from tests.support.stack import Stack

STEPS = {1: 200, 10: 60, 100: 20}
"""Steps of each session, by the number of sessions."""

SHARE = 0.5
"""Of the floor, with a hundred sessions."""


def measure() -> list[Figure]:
    figures: list[Figure] = []
    for count, steps in STEPS.items():
        with bed() as running:
            figures += asyncio.run(_measure(running, count, steps))
    return figures


async def _measure(running: Stack, count: int, steps: int) -> list[Figure]:
    floor = Series([await _floor(running, count, max(2000 // count, 20))], "/s")
    async with talks(running, count) as sessions:
        warm = await running.model.play(bash("echo x"), say("Ready."))
        for talk in sessions:
            await talk.say(warm)
        await asyncio.gather(*(idle(running, t.id, 1) for t in sessions))
        marks = [await running.model.play({"repeat": steps, **bash("echo x")}, say("Done.")) for _ in sessions]
        before = await _stored(running)
        await asyncio.gather(*(t.say(m) for t, m in zip(sessions, marks, strict=True)))
        await asyncio.gather(*(idle(running, t.id, 2) for t in sessions))
        stored = await _stored(running) - before
        records = [r for mark in marks for r in await running.model.requests(mark)]
    seconds = max(r.received for r in records) - min(r.received for r in records)
    done = Series([count * steps / seconds], "/s")
    figure = Figure(
        name=f"steps per second, {count} sessions",
        measured=done,
        floor=floor,
        floor_name="SDK calls to the model",
        note=f"{stored / (count * steps):.0f} bytes of log a step",
    )
    if count == 100:
        figure.aim, figure.met = "≥ 0.5 of the floor", done.median >= SHARE * floor.median
    return [figure]


async def _floor(running: Stack, count: int, calls: int) -> float:
    """Calls per second of the SDK itself, streamed, with as many at once."""
    mark = await running.model.play({"repeat": 1000, **bash("echo x")})
    content: Any = said(mark)["content"]

    async def one(client: AsyncAnthropic) -> None:
        for _ in range(calls):
            stream = await client.messages.create(
                model="m", max_tokens=100, messages=[{"role": "user", "content": content}], stream=True
            )
            async for _event in stream:
                pass

    async with AsyncAnthropic(base_url=running.model.base_url, api_key="any") as client:
        await one(client)
        began = time.monotonic()
        await asyncio.gather(*(one(client) for _ in range(count)))
        return count * calls / (time.monotonic() - began)


async def _stored(running: Stack) -> int:
    """Bytes of the log stream."""
    run = running.run
    link = Link()
    await link.open([run.nats_url], name="bench", login=credentials(run.credentials["admin"]))
    try:
        answer = await link.api(f"STREAM.INFO.{log_stream(FIRST_CELL)}")
    finally:
        await link.close()
    return int(answer["state"]["bytes"])
