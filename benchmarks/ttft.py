"""Time to first token: from sending a message to the first delta at a client of the SDK, without the model's own time.

Two ways to have many sessions at once: `burst`, all send in the same instant, which queues everything behind the cores
of the machine; and `paced`, each sends every few seconds on its own, as people do.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from anthropic import AsyncAnthropic

from benchmarks.result import Aim, Row, at_most, spread
from benchmarks.rig import MODEL, Bench, Rig, ms, new_mark, run, said
from holdfast.harness.tools.offered_tools import offered
from holdfast.scripted_model.journal import Record
from tests.support.model import Json, say

TITLE = "time to first token (ms)"

PERIOD = 2.0
"""Seconds between two messages of one session when they are paced."""

PLAN = ((1, 10, 2, 20, False), (10, 4, 1, 10, False), (50, 4, 1, 4, False), (50, 3, 1, 5, True))
"""Sessions at once, how often with fresh ones, the same in a quick run, messages to each, paced."""

ANSWER = "This is an answer of about twenty words, long enough to be a stream of deltas and short enough to be cheap."


class Visitor:
    """A client with one session and its open stream."""

    def __init__(self, client: AsyncAnthropic, session: str, mark: str) -> None:
        self._client = client
        self.session = session
        self.mark = mark
        self._stream: Any = None

    async def open(self) -> None:
        self._stream = await self._client.beta.sessions.events.stream(self.session, event_deltas=["agent.message"])

    async def close(self) -> None:
        await self._stream.close()

    async def turn(self, scenario: str) -> float:
        """Send, and return the seconds to the first delta; returns when the session rests."""
        events: Any = [said(scenario, self.mark)]
        begin = time.perf_counter()
        sending = asyncio.create_task(self._client.beta.sessions.events.send(self.session, events=events))
        first = 0.0
        async for event in self._stream:
            if event.type == "event_delta" and not first:
                first = time.perf_counter() - begin
            elif event.type == "session.status_idle":
                break
        await sending
        return first


async def direct(client: AsyncAnthropic, scenario: str, mark: str) -> float:
    """The floor: the SDK asks the model itself. Seconds to the first delta."""
    content: Json = said(scenario, mark)
    body: Any = {
        "model": MODEL,
        "max_tokens": 16_384,
        "messages": [{"role": "user", "content": content["content"]}],
        "tools": offered({"tools": [{"type": "agent_toolset_20260401"}]}),
    }
    begin = time.perf_counter()
    stream = await client.messages.create(**body, stream=True)
    first = 0.0
    async for event in stream:
        if event.type == "content_block_delta" and not first:
            first = time.perf_counter() - begin
    return first


class Turn(NamedTuple):
    """When it began (Unix seconds), and the seconds to its first delta."""

    began: float
    first: float


class Round(NamedTuple):
    """The seconds to the first delta of each turn, without the model's own, and the requests that no turn explains.

    A request is dropped, and made again, if the log refuses its start (rule 6), if it fails, or in a takeover.
    """

    seconds: list[float]
    surplus: int


def _without_model(turns: list[Turn], records: list[Record]) -> Round:
    """The model's time of a turn is that of its first request, from the whole request to its first byte."""
    of_turn = [[r for r in records if turn.began <= r.received <= turn.began + turn.first] for turn in turns]
    own = [turn.first - (asked[0].first_byte - asked[0].received) for turn, asked in zip(turns, of_turn, strict=True)]
    since = min(turn.began for turn in turns)
    return Round(own, sum(r.received >= since for r in records) - len(turns))


async def _rounds(
    rig: Rig, marks: list[str], rounds: int, once: Callable[[int], Awaitable[float]], *, paced: bool
) -> Round:
    """`rounds` turns of each, all at once or each in its own time; the model's own time is subtracted."""
    turns: dict[str, list[Turn]] = {mark: [] for mark in marks}

    async def one(index: int) -> None:
        began = time.time()
        turns[marks[index]].append(Turn(began, await once(index)))

    async def own_time(index: int) -> None:
        await asyncio.sleep(random.uniform(0, PERIOD))
        for _ in range(rounds):
            due = time.perf_counter() + random.uniform(0.5, 1.5) * PERIOD
            await one(index)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    if paced:
        await asyncio.gather(*(own_time(i) for i in range(len(marks))))
    else:
        for _ in range(rounds):
            await asyncio.gather(*(one(i) for i in range(len(marks))))
    records = await rig.records("")
    found = [_without_model(turns[mark], [r for r in records if mark in r.marks]) for mark in marks]
    return Round([s for one in found for s in one.seconds], sum(one.surplus for one in found))


async def _measure(rig: Rig) -> list[Row]:
    scenario = await rig.scenario(say(ANSWER))
    rows: list[Row] = []
    async with rig.client() as client, rig.direct() as model:
        for count, full, quick, rounds, paced in PLAN:
            found: list[float] = []
            floor: list[float] = []
            surplus = 0
            for _ in range(rig.options.count(full, quick)):
                sessions = await rig.sessions(client, count)
                visitors = [Visitor(client, session, new_mark()) for session in sessions]
                for visitor in visitors:
                    await visitor.open()
                await asyncio.gather(*(v.turn(scenario) for v in visitors))  # warm: connections, caches
                marks = [v.mark for v in visitors]
                ours = await _rounds(rig, marks, rounds, lambda i, v=visitors: v[i].turn(scenario), paced=paced)
                found += ours.seconds
                surplus += ours.surplus
                for visitor in visitors:
                    await visitor.close()
                other = [new_mark() for _ in range(count)]
                await asyncio.gather(*(direct(model, scenario, mark) for mark in other))
                beside = await _rounds(
                    rig, other, rounds, lambda i, o=other: direct(model, scenario, o[i]), paced=paced
                )
                floor += beside.seconds
            rows.append(_row(count, paced, ms(found), ms(floor), surplus))
    return rows


def _row(count: int, paced: bool, found: list[float], floor: list[float], surplus: int) -> Row:
    measured, beside = spread(found), spread(floor)
    aims: list[Aim] = []
    if count == 1:
        aims = [at_most("p50 at most 5 over the floor", measured.p50 - beside.p50, 5)]
    elif count == 50:
        aims = [at_most("p95 at most 60 over the floor", measured.p95 - beside.p95, 60)]
    way = "paced" if paced else "burst"
    name = "1 session" if count == 1 else f"{count} sessions, {way}"
    note = f"{surplus} model requests more than turns" if surplus else ""
    return Row(
        name=name, unit="ms", found=measured, floor=beside, floor_name="the SDK at the model", aims=aims, note=note
    )


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
