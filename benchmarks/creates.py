"""Sessions created per second, and turns per second.

Creates: by the SDK in two client processes, and by prepared bytes over plain HTTP, which leaves the machine to the
service. Turns: each session sends its next message as soon as it rests.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from anthropic import AsyncAnthropic

from benchmarks.http import Connection
from benchmarks.result import Row, Spread, at_least, spread
from benchmarks.rig import MODEL, TOOLSET, Bench, Rig, run, said
from benchmarks.ttft import Visitor
from holdfast.bus import codec
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.jetstream.requests import RawMessage
from tests.support.model import say

TITLE = "sessions created and turns per second"

CONNECTIONS = 16
PROCESSES = 2


async def saturate(workers: list[Callable[[], Awaitable[object]]], seconds: float) -> float:
    """Each worker again and again for that long; how often a second."""
    count = 0
    until = time.perf_counter() + seconds

    async def again(work: Callable[[], Awaitable[object]]) -> None:
        nonlocal count
        while time.perf_counter() < until:
            await work()
            count += 1

    begin = time.perf_counter()
    await asyncio.gather(*(again(work) for work in workers))
    return count / (time.perf_counter() - begin)


async def _published(rig: Rig, rounds: int, seconds: float, *, at_once: int) -> Spread:
    """The floor: publishes to a stream, as many at once."""
    body, name, number = b"x" * 400, new_id("floor"), 0
    async with rig.link("harness") as link:

        async def once() -> None:
            nonlocal number
            number += 1
            await link.store(f"$KV.snap.{FIRST_CELL}.bench.{name}-{number}", body, {})

        return spread([await saturate([once] * at_once, seconds) for _ in range(rounds)], rate=True)


async def _raw(rig: Rig, agent: str, environment: str, rounds: int, seconds: float) -> Spread:
    stack = rig.stack.run
    connections = [Connection(stack.base_url, stack.api_key) for _ in range(CONNECTIONS)]
    request = connections[0].prepare("/v1/sessions?beta=true", {"agent": agent, "environment_id": environment})
    for connection in connections:
        await connection.__aenter__()
    try:
        await saturate([lambda c=c: c.ask(request) for c in connections], seconds / 3)
        return spread(
            [await saturate([lambda c=c: c.ask(request) for c in connections], seconds) for _ in range(rounds)],
            rate=True,
        )
    finally:
        for connection in connections:
            await connection.__aexit__(None, None, None)


def sdk_creates(base_url: str, api_key: str, agent: str, environment: str, seconds: float) -> float:
    """Creates a second of one client process."""

    async def work() -> float:
        async with AsyncAnthropic(base_url=base_url, api_key=api_key, max_retries=0) as client:

            async def once() -> object:
                return await client.beta.sessions.create(agent=agent, environment_id=environment)

            await saturate([once] * 4, seconds / 3)
            return await saturate([once] * (CONNECTIONS // PROCESSES), seconds)

    return run(work)


async def _by_sdk(rig: Rig, agent: str, environment: str, rounds: int, seconds: float) -> Spread:
    stack = rig.stack.run
    loop = asyncio.get_running_loop()
    rates: list[float] = []
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for _ in range(rounds):
            given = (stack.base_url, stack.api_key, agent, environment, seconds)
            found = await asyncio.gather(
                *(loop.run_in_executor(pool, sdk_creates, *given) for _ in range(PROCESSES))
            )  # fmt: skip
            rates.append(sum(found))
    return spread(rates, rate=True)


async def _turns_by_sdk(rig: Rig, client: AsyncAnthropic, scenario: str, count: int, seconds: float) -> float:
    sessions = await rig.sessions(client, count)
    visitors = [Visitor(client, session, "") for session in sessions]
    for visitor in visitors:
        await visitor.open()
    await asyncio.gather(*(v.turn(scenario) for v in visitors))
    rate = await saturate([lambda v=v: v.turn(scenario) for v in visitors], seconds)
    for visitor in visitors:
        await visitor.close()
    return rate


async def _turns_by_http(rig: Rig, client: AsyncAnthropic, scenario: str, count: int, seconds: float) -> float:
    """Messages as prepared bytes; one subscription hears of every session that rests."""
    sessions = await rig.sessions(client, count)
    stack = rig.stack.run
    resting = {session: asyncio.Event() for session in sessions}

    async def heard(got: RawMessage) -> None:
        event = resting.get(got.subject.rpartition(".")[2])
        if event is not None:
            head = codec.decode_commit(got.data).head
            if head.claim is None and head.status == "idle":
                event.set()

    connections = [Connection(stack.base_url, stack.api_key) for _ in sessions]

    def turn(session: str, connection: Connection) -> Callable[[], Awaitable[object]]:
        body = {"events": [said(scenario)]}
        request = connection.prepare(f"/v1/sessions/{session}/events?beta=true", body)

        async def once() -> None:
            resting[session].clear()
            await connection.ask(request)
            await resting[session].wait()

        return once

    async with rig.link("session") as link:
        listening = await link.listen(f"live.{FIRST_CELL}.default.*", heard)
        for connection in connections:
            await connection.__aenter__()
        workers = [turn(session, connection) for session, connection in zip(sessions, connections, strict=True)]
        await asyncio.gather(*(work() for work in workers))
        rate = await saturate(workers, seconds)
        for connection in connections:
            await connection.__aexit__(None, None, None)
        await listening.close()
    return rate


async def _measure(rig: Rig) -> list[Row]:
    options = rig.options
    rounds, seconds = options.count(5, 2), options.count(30, 5) / 10
    scenario = await rig.scenario(say("Good."))
    rows: list[Row] = []
    async with rig.client() as client:
        for count in (1, 10, 50):
            floor = await _published(rig, rounds, seconds / 2, at_once=count)
            for way, work in (("SDK", _turns_by_sdk), ("plain HTTP", _turns_by_http)):
                rates = [await work(rig, client, scenario, count, seconds) for _ in range(rounds)]
                rows.append(
                    Row(name=f"turns, {count} session{'s' * (count > 1)}, {way}", unit="1/s",
                        found=spread(rates, rate=True), floor=floor, floor_name="publishes")
                )  # fmt: skip
        agent = await client.beta.agents.create(model=MODEL, name="bench", tools=[TOOLSET])  # type: ignore[list-item]
        environment = await client.beta.environments.create(name=new_id("bench"))
        floor = await _published(rig, rounds, seconds / 2, at_once=CONNECTIONS)
        sdk = await _by_sdk(rig, agent.id, environment.id, rounds, seconds)
        raw = await _raw(rig, agent.id, environment.id, rounds, seconds)
    rows.append(
        Row(name=f"creates, SDK, {PROCESSES} processes", unit="1/s", found=sdk, floor=floor, floor_name="publishes",
            aims=[at_least("at least 1,000", sdk.p50, 1000)])
    )  # fmt: skip
    rows.append(
        Row(name=f"creates, plain HTTP, {CONNECTIONS} connections", unit="1/s", found=raw, floor=floor,
            floor_name="publishes", aims=[at_least("at least 1,000", raw.p50, 1000)])
    )  # fmt: skip
    return rows


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
