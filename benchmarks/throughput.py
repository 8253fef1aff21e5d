"""Sessions created per second, and turns per second with 1, 10 and 50 sessions, over HTTP."""

import asyncio
import contextlib
import json
import time
from urllib.parse import urlsplit

from benchmarks.bed import Turns, bed, publish_times, talks
from benchmarks.figure import Figure, Series
from tests.support.model import say
from tests.support.stack import Stack
from tests.support.talk import Talk

CREATES = 3000
CONNECTIONS = 16
LEAST = 1000.0
"""Creations per second."""

TURNS = {1: 100, 10: 20, 50: 10}


def measure() -> list[Figure]:
    with bed() as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    async with talks(running, 50) as sessions, running.bus("session") as bus:
        rate = len(took := await publish_times(bus, 1000)) / sum(took)
        floor = Series([rate], "/s")
        figures = [await _creates(running, sessions[0], floor)]
        async with contextlib.AsyncExitStack() as counting:
            counted = [await counting.enter_async_context(Turns(bus, t.id)) for t in sessions]
            done = dict.fromkeys(range(len(sessions)), 0)

            async def turns(number: int, mark: str, times: int) -> None:
                for _ in range(times):
                    await sessions[number].say(mark)
                    done[number] += 1
                    await counted[number].ended(done[number])

            for count, times in TURNS.items():
                mark = await running.model.play({"repeat": 1000, **say("Yes.")})
                began = time.monotonic()
                await asyncio.gather(*(turns(n, mark, times) for n in range(count)))
                each = Series([count * times / (time.monotonic() - began)], "/s")
                name = f"turns per second, {count} sessions"
                figures.append(Figure(name=name, measured=each, floor=floor, floor_name="publishes, one by one"))
    return figures


async def _creates(running: Stack, talk: Talk, floor: Series) -> Figure:
    """Plain HTTP on kept connections: the SDK's own cost for a call is larger than the server's."""
    made = await talk.client.beta.sessions.retrieve(talk.id)
    run = running.run
    body = json.dumps({"agent": made.agent.id, "environment_id": made.environment_id}).encode()
    head = (
        f"POST /v1/sessions HTTP/1.1\r\nHost: bench\r\nx-api-key: {run.api_key}\r\nContent-Type: application/json\r\n"
    )
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    port = urlsplit(run.base_url).port
    left = CREATES

    async def connection() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    began = time.monotonic()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    rate = Series([CREATES / (time.monotonic() - began)], "/s")
    return Figure(
        name="sessions created per second", measured=rate, floor=floor, floor_name="publishes, one by one",
        aim="≥ 1,000/s", met=rate.median >= LEAST,
    )  # fmt: skip
