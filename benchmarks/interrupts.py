"""How soon a user is heard: an interrupt in mid-generation, and a message sent while a tool runs."""

import asyncio
import time

from benchmarks.bed import bed, idle, publish_times, talks
from benchmarks.figure import Figure, Series, milliseconds
from tests.support.model import bash, say, texts_of
from tests.support.stack import Stack

TIMES = 40
MOST = 100.0
"""Milliseconds."""


def measure() -> list[Figure]:
    with bed(bench=False) as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    async with talks(running, 1) as (talk,), running.bus("session") as bus:
        floor = milliseconds(await publish_times(bus))
        took: list[float] = []
        for turn in range(TIMES):
            mark = await running.model.play(say("one two three", gates=[{"name": f"stop{turn}", "after": 1}]))
            await talk.say(mark)
            await running.model.reached(f"stop{turn}")
            await talk.interrupt()
            accepted = time.time()
            record = (await running.model.requests(mark, ended=1))[0]
            took.append(max(record.ended - accepted, 0.0))
            await idle(running, talk.id, turn + 1)
        heard = [await _heard(running, turn) for turn in range(TIMES // 2)]
    values = milliseconds(took)
    share = Series([100.0 * sum(heard) / len(heard)], "%")
    return [
        Figure(
            name="interrupt accepted → model connection closed",
            measured=values,
            floor=floor,
            floor_name="one publish",
            aim="p95 ≤ 100 ms",
            met=values.p95 <= MOST,
        ),
        Figure(name="message during a tool call is in the next request", measured=share, aim="always", met=all(heard)),
    ]


async def _heard(running: Stack, turn: int) -> bool:
    """Whether a message that was accepted while a command ran is in the very next model request."""
    async with talks(running, 1) as (talk,):
        mark = await running.model.play(bash("sleep 0.3"), say("Done."), say("More."))
        await talk.say(mark)
        await talk.has("agent.tool_use")
        note = f"by the way, number {turn}"
        await talk.send({"type": "user.message", "content": [{"type": "text", "text": note}]})
        await talk.rests()
        second = (await running.model.requests(mark))[1]
        return note in texts_of(second)
