"""From an input stored to the request at the model, for a session that has worked before.

The input goes to the bus itself, so neither HTTP nor the SDK is in it. `stored` counts from the acknowledgement of the
publish, which travels while the harness already has the message; `sent` counts from before the publish.
"""

import time

from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench, Rig, message, ms, new_mark, publishes, rested, run, session_key
from tests.support.model import say

TITLE = "input stored to model request, warm session (ms)"

TURNS = 25
"""Turns of one session: few enough that its history does not weigh on the request."""


async def _measure(rig: Rig) -> list[Row]:
    scenario = await rig.scenario(say("Good."))
    sent: list[float] = []
    stored: list[float] = []
    async with rig.client() as client, rig.bus() as bus:
        sessions = await rig.sessions(client, rig.options.count(20, 2))
        for session in sessions:
            key, mark, at = session_key(session), new_mark(), 0
            times: list[tuple[float, float]] = []
            for _ in range(TURNS):
                given = message(scenario, mark)
                begin = time.time()
                await bus.inbox.put(key, given)
                times.append((begin, time.time()))
                at = await rested(bus, key, at)
            records = await rig.records(mark, count=TURNS, ended=TURNS)
            for (begin, end), record in list(zip(times, records, strict=True))[1:]:
                sent.append(record.received - begin)
                stored.append(record.received - end)
    floor = spread(ms(await publishes(rig, rig.options.count(500, 100))))
    whole, after = spread(ms(sent)), spread(ms(stored))
    name = "one publish"
    aim = [at_most("p50 at most 4", whole.p50, 4)]
    return [
        Row(name="publish sent to model request", unit="ms", found=whole, floor=floor, floor_name=name, aims=aim),
        Row(name="publish acknowledged to model request", unit="ms", found=after, floor=floor, floor_name=name),
    ]


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
