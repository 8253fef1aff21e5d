"""Ten thousand sessions at rest: what the session service costs with them, how long it takes to start again, and how
fast one of them wakes.

The sessions are appended to the log as the session service makes them, each with the configuration of a real one. Each
figure stands beside the same with a handful of sessions, in the same run.
"""

import asyncio
import time
from typing import Any

from anthropic import APIError, AsyncAnthropic
from msgspec.structs import replace

from benchmarks.memory import look
from benchmarks.result import Row, Spread, at_most, spread
from benchmarks.rig import Bench, Rig, message, ms, new_mark, rested, run, session_key
from holdfast.bus import events as ev
from holdfast.bus.commits import commit
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from tests.support.eventually import eventually
from tests.support.model import say

TITLE = "ten thousand resting sessions: memory, start of the session service, wake"

AT_ONCE = 64


async def _config(bus: NatsBus, session: str) -> ev.SessionConfig:
    """The configuration of a session that was made over the API."""
    for stored in await bus.log.read(session_key(session)):
        for event in stored.commit.events:
            if isinstance(event, ev.SessionConfig):
                return event
    raise AssertionError("a session begins with its configuration")


async def _make(bus: NatsBus, config: ev.SessionConfig, count: int) -> list[Key]:
    """That many sessions that never had a turn."""
    places, made = asyncio.Semaphore(AT_ONCE), list[Key]()

    async def one() -> None:
        key = Key(config.tenant, new_session_id())
        first = replace(config, id=new_id("sevt"), first_input=None)
        async with places:
            await bus.log.append(key, commit(None, [first], by="session", new_id=new_id, now=clock.now()), 0)
        made.append(key)

    await asyncio.gather(*(one() for _ in range(count)))
    return made


async def _restart(rig: Rig, client: AsyncAnthropic, newest: str) -> float:
    """Seconds from `kill -9` of the session service to a list that has the newest session."""
    begin = time.perf_counter()
    rig.stack.kill("session")

    async def listed() -> bool:
        try:
            page = await client.beta.sessions.list(limit=1, order="desc")
        except APIError:
            return False
        return bool(page.data) and page.data[0].id == newest

    await eventually(listed, what="the newest session in the list", within=120)
    return time.perf_counter() - begin


async def _wakes(rig: Rig, bus: NatsBus, keys: list[Key], scenario: str) -> Spread:
    """Milliseconds from an input to its request at the model."""
    found: list[float] = []
    for key in keys:
        mark, begin = new_mark(), time.time()
        await bus.inbox.put(key, message(scenario, mark))
        (record,) = await rig.records(mark, count=1, ended=1)
        found.append(record.received - begin)
        await rested(bus, key, 0)
    return spread(ms(found))


async def _measure(rig: Rig) -> list[Row]:
    count, few = rig.options.count(10_000, 300), rig.options.count(30, 5)
    scenario = await rig.scenario(say("Good."))
    async with rig.client() as client, rig.bus() as bus:
        (first,) = await rig.sessions(client, 1, tools=False)
        config = await _config(bus, first)
        before = await _figures(rig, client, bus, config, few=few, scenario=scenario)
        await _make(bus, config, count)
        after = await _figures(rig, client, bus, config, few=few, scenario=scenario)
    names = ("PSS of the session service", "session service killed to its list complete", "input to model request")
    floor = "with a handful of sessions"
    rows = [
        Row(name=f"{name}, {count:,} at rest", unit=unit, found=found, floor=alone, floor_name=floor)
        for name, unit, found, alone in zip(names, ("MiB", "s", "ms"), after, before, strict=True)
    ]
    rows[2] = replace(rows[2], aims=[at_most("at most 1.2 of the floor", after[2].p50 / before[2].p50, 1.2)])
    return rows


async def _figures(
    rig: Rig, client: AsyncAnthropic, bus: NatsBus, config: ev.SessionConfig, *, few: int, scenario: str
) -> tuple[Spread, Spread, Spread]:
    keys = await _make(bus, config, few)
    took = await _restart(rig, client, max(key.session for key in keys))
    await asyncio.sleep(2)
    memory: Any = look(rig.stack)["session"][0]
    return spread([memory]), spread([took]), await _wakes(rig, bus, keys, scenario)


def figure(bench: Bench) -> list[Row]:
    with bench.rig(own=True) as rig:
        return run(lambda: _measure(rig))
