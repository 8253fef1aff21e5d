"""kill -9 of the harness that drives a session, in the middle of a model answer, to the next model request.

Once with `holdfast up`, and once on a cluster of three nats-servers, where every append is agreed between them.
"""

import asyncio
import os
import signal
import time

from benchmarks.cluster import cluster_rig
from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench, Rig, message, ms, new_mark, rested, run, session_key
from holdfast.bus import streams
from tests.support.model import say

TITLE = "kill -9 of the driving harness to the next model request (ms)"

HANGING = say("word " * 40, faults=[{"kind": "hang", "after": 2, "times": 1}])
"""An answer that stops after two tokens, so that it is still coming when the harness dies; the next one comes whole."""


async def _kill(rig: Rig) -> float:
    """Seconds from the kill to the request of the harness that takes over."""
    slow = await rig.scenario(HANGING)
    mark = new_mark()
    async with rig.client() as client, rig.bus() as bus:
        (session,) = await rig.sessions(client, 1, tools=False)
        key = session_key(session)
        await bus.inbox.put(key, message(slow, mark))
        await rig.records(mark, count=1)
        await asyncio.sleep(0.3 + 0.5 * (time.time() % 1))  # anywhere between two signs of life
        name = await rig.stack.driver(session)
        pid = rig.stack.pid(name)
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        records = await rig.records(mark, count=2)
        await rested(bus, key, 0)
        await rig.stack.replaced(name, pid)
    return records[1].received - killed


async def _measure(rig: Rig, name: str, limit_ms: int) -> list[Row]:
    found = spread(ms([await _kill(rig) for _ in range(rig.options.count(40, 2))]))
    wait = spread([streams.ACK_WAIT_S * 1000])
    aims = [at_most(f"p95 at most {limit_ms}", found.p95, limit_ms)]
    return [Row(name=name, unit="ms", found=found, floor=wait, floor_name="ack_wait", aims=aims)]


async def _in_cluster(bench: Bench) -> list[Row]:
    async with cluster_rig(bench.options) as rig:
        return await _measure(rig, "takeover, nats-server as a cluster of three", 500)


def figure(bench: Bench) -> list[Row]:
    with bench.rig(harnesses=3, own=True) as rig:
        rows = run(lambda: _measure(rig, "takeover", 150))
    return rows + run(lambda: _in_cluster(bench))
