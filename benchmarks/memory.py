"""Memory of each service: idle, and with a thousand sessions that rest after a turn."""

import asyncio

import psutil

from benchmarks.bed import bed, idle, talks
from benchmarks.figure import Figure, Series
from tests.support.model import say
from tests.support.stack import Stack

SESSIONS = 1000
AT_ONCE = 20
NOTHING = 4.0
"""KiB a resting session may cost in harness or sandbox: below what an allocator rounds to."""


def measure() -> list[Figure]:
    with bed() as running:
        return asyncio.run(_measure(running))


async def _measure(running: Stack) -> list[Figure]:
    warm = await running.model.play({"repeat": 10, **say("Yes.")})
    async with talks(running, SESSIONS) as sessions:
        for talk in sessions[:AT_ONCE]:
            await talk.say(warm)
            await idle(running, talk.id, 1)
        before = _used(running)
        for start in range(AT_ONCE, SESSIONS, AT_ONCE):
            some = sessions[start : start + AT_ONCE]
            await asyncio.gather(*(t.say(warm) for t in some))
            await asyncio.gather(*(idle(running, t.id, 1) for t in some))
        after = _used(running)
    figures = [Figure(name=f"memory of {n}, idle", measured=Series([v / 2**20], "MiB")) for n, v in before.items()]
    for name in before:
        each = Series([(after[name] - before[name]) / (SESSIONS - AT_ONCE) / 1024], "KiB")
        figure = Figure(name=f"a resting session in {name}", measured=each)
        if name.startswith(("harness", "sandbox")):
            figure.aim, figure.met = "none", each.median <= NOTHING
        figures.append(figure)
    return figures


def _used(running: Stack) -> dict[str, float]:
    """Memory that only this process has (bytes), by name."""
    return {n: float(psutil.Process(pid).memory_full_info().uss) for n, pid in running.run.processes.items()}
