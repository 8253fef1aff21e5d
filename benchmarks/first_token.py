"""From `events.send` to the first delta at the client, less the time of the model itself. Floor: the model alone."""

import asyncio
import time

from anthropic import AsyncAnthropic

from benchmarks.bed import TOKENS, bed, talks
from benchmarks.figure import Figure, milliseconds
from tests.support.model import said, say
from tests.support.stack import Stack
from tests.support.talk import Talk

TURNS = {1: 100, 10: 20, 50: 8}
"""Turns of each session, by the number of sessions at once."""

WARM_UP = 2
OVER = 5.0
"""Milliseconds over the floor, for the median of one session."""

MOST = 60.0
"""Milliseconds over the floor, for the p95 of fifty sessions."""


def measure() -> list[Figure]:
    with bed() as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    figures: list[Figure] = []
    for count, turns in TURNS.items():
        floor = milliseconds(await _floor(running, count, turns))
        values = milliseconds(await _sessions(running, count, turns))
        if count == 1:
            aim, met = "p50 ≤ 5 ms over the floor", values.median - floor.median <= OVER
        elif count == 50:
            aim, met = "p95 ≤ 60 ms over the floor", values.p95 - floor.p95 <= MOST
        else:
            aim, met = "", None
        figures.append(
            Figure(
                name=f"first token, {count} at once",
                measured=values,
                floor=floor,
                floor_name="SDK to the model",
                aim=aim,
                met=met,
            )
        )
    return figures


async def _floor(running: Stack, count: int, turns: int) -> list[float]:
    mark = await running.model.play({"repeat": 1000, **say(TOKENS)})
    took: list[float] = []

    async def one(client: AsyncAnthropic, number: int) -> None:
        for turn in range(turns + WARM_UP):
            content = said(mark, f"{number}")["content"]
            began = time.time()
            stream = await client.messages.create(
                model="m", max_tokens=100, messages=[{"role": "user", "content": content}], stream=True
            )
            async for event in stream:
                if event.type == "content_block_delta":
                    if turn >= WARM_UP:
                        took.append(time.time() - began)
                    break
            await stream.close()

    async with AsyncAnthropic(base_url=running.model.base_url, api_key="any") as client:
        await asyncio.gather(*(one(client, n) for n in range(count)))
    return await _without_the_model(running, mark, took)


async def _sessions(running: Stack, count: int, turns: int) -> list[float]:
    async with talks(running, count) as sessions:
        marks = [await running.model.play({"repeat": 1000, **say(TOKENS)}) for _ in sessions]
        taken = await asyncio.gather(*(_one(t, m, turns) for t, m in zip(sessions, marks, strict=True)))
        took: list[float] = []
        for mark, mine in zip(marks, taken, strict=True):
            took += await _without_the_model(running, mark, mine)
        return took


async def _one(talk: Talk, mark: str, turns: int) -> list[float]:
    took: list[float] = []
    async with await talk.client.beta.sessions.events.stream(talk.id, event_deltas=["agent.message"]) as stream:
        for turn in range(turns + WARM_UP):
            began, first = time.time(), 0.0
            await talk.say(mark)
            async for event in stream:
                if event.type == "event_delta" and not first:
                    first = time.time() - began
                if event.type == "session.status_idle":
                    break
            if turn >= WARM_UP:
                took.append(first)
    return took


async def _without_the_model(running: Stack, mark: str, took: list[float]) -> list[float]:
    """The same less the median time that the model took from the request to its first byte."""
    own = sorted(r.first_byte - r.received for r in await running.model.requests(mark))
    return [t - own[len(own) // 2] for t in took]
