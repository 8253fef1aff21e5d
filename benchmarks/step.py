"""One tool step: from the end of a model answer to the next model request, with a tool in the sandbox in between.

Once with `echo` in the shell, and once with the tool `read`.
"""

import contextlib
import time
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path

from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench, Rig, message, ms, new_mark, rested, run, session_key
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import Sandbox, make_driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.settings import SandboxSettings
from holdfast.scripted_model.journal import Record
from tests.support.model import bash, call, say

Call = tuple[str, dict[str, str]]

TITLE = "one tool step: model answer ends to next model request (ms)"

STEPS = 60
"""Steps of one session: its history stays that of a short task."""

BASH: Call = ("bash", {"command": "echo hello"})
READ: Call = ("read", {"file_path": "hello"})

MAKE = "echo hello | tee hello"
"""The first command of a session: it makes the sandbox, and the file for READ."""


@contextlib.asynccontextmanager
async def sandbox(folder: Path) -> AsyncGenerator[Sandbox]:
    """A sandbox as the service makes it, without the service around it."""
    driver = make_driver(SandboxSettings(data_dir=str(folder)))
    worker = new_id("wrk")
    await driver.open(worker)
    driver.keep_until(time.monotonic() + 600)
    try:
        spec = HandSpec(key=Key("bench", new_session_id()), kind=SANDBOX, generation=new_id("sbx"))
        yield await driver.create(spec)
    finally:
        await driver.close()


async def calls(folder: Path, count: int, tool: Call) -> list[float]:
    """The floor: seconds of one call over the stream of a sandbox."""
    found: list[float] = []
    name, arguments = tool
    async with sandbox(folder) as box:
        await box.run("make", "bash", {"command": MAKE})
        for number in range(count + 20):
            begin = time.perf_counter()
            outcome = await box.run(f"call-{number}", name, {**arguments})
            found.append(time.perf_counter() - begin)
            assert not outcome.is_error, outcome
    return found[20:]


def between(records: list[Record]) -> list[float]:
    """Seconds from each answer to the request after it."""
    return [after.received - before.last_byte for before, after in pairwise(records)]


async def stored(rig: Rig) -> int:
    """Messages that were ever stored in the streams that a step may write to."""
    async with rig.link("admin") as admin:
        found = [await admin.api(f"STREAM.INFO.{name}") for name in ("LOG_a0", "INBOX_a0", "KV_hands", "KV_snap")]
    return sum(info["state"]["last_seq"] for info in found)


async def _steps(rig: Rig, tool: Call) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the first step of each session, and of all other steps; and messages stored a step, by session."""
    name, arguments = tool
    scenario = await rig.scenario(bash(MAKE), *[call(name, **arguments)] * (STEPS - 1), say("Done."))
    first: list[float] = []
    steps: list[float] = []
    messages: list[float] = []
    async with rig.client() as client, rig.bus() as bus:
        sessions = await rig.sessions(client, rig.options.count(15, 2))
        for session in sessions:
            mark, before = new_mark(), await stored(rig)
            await bus.inbox.put(session_key(session), message(scenario, mark))
            await rested(bus, session_key(session), 0)
            gaps = between(await rig.records(mark, count=STEPS + 1, ended=STEPS + 1))
            first.append(gaps[0])
            steps += gaps[1:]
            messages.append((await stored(rig) - before) / STEPS)
        await rig.forget(client, sessions)
    return first, steps, messages


async def _measure(rig: Rig) -> list[Row]:
    name = "one call over the stream"
    rows: list[Row] = []
    first: list[float] = []
    for tool in (BASH, READ):
        made, steps, messages = await _steps(rig, tool)
        first += made
        found = spread(ms(steps))
        aims = [at_most("p50 at most 5", found.p50, 5), at_most("p99 at most 15", found.p99, 15)]
        floor = spread(ms(await calls(rig.options.folder / new_id("box"), rig.options.count(300, 50), tool)))
        title = "step" if tool is BASH else f"step with `{tool[0]}`"
        rows.append(Row(name=title, unit="ms", found=found, floor=floor, floor_name=name, aims=aims))
        rows.append(Row(name=f"messages stored: {title}", unit="", found=spread(messages)))
    rows.append(
        Row(name="first step, which makes the sandbox", unit="ms", found=spread(ms(first)), floor=rows[0].floor,
            floor_name=name)
    )  # fmt: skip
    return rows


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
