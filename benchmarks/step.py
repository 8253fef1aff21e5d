"""One tool step: from the end of a model answer to the next model request, with a tool in the sandbox in between.

Once with `echo` in the shell, and once with the tool `read`.
"""

import contextlib
import time
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

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


class Steps(NamedTuple):
    """What some sessions gave: seconds of the first step of each, seconds of all other steps, and by session how many
    messages a step sent to nats-server, and how many of them were stored."""

    first: list[float]
    others: list[float]
    sent: list[float]
    stored: list[float]


async def _steps(rig: Rig, tool: Call) -> Steps:
    name, arguments = tool
    scenario = await rig.scenario(bash(MAKE), *[call(name, **arguments)] * (STEPS - 1), say("Done."))
    found = Steps([], [], [], [])
    async with rig.client() as client, rig.bus() as bus:
        sessions = await rig.sessions(client, rig.options.count(15, 2))
        for session in sessions:
            mark, before, sent_before = new_mark(), await stored(rig), await rig.messages_in()
            await bus.inbox.put(session_key(session), message(scenario, mark))
            await rested(bus, session_key(session), 0)
            gaps = between(await rig.records(mark, count=STEPS + 1, ended=STEPS + 1))
            found.first.append(gaps[0])
            found.others.extend(gaps[1:])
            found.sent.append((await rig.messages_in() - sent_before) / STEPS)
            found.stored.append((await stored(rig) - before) / STEPS)
        await rig.forget(client, sessions)
    return found


async def _measure(rig: Rig) -> list[Row]:
    name = "one call over the stream"
    rows: list[Row] = []
    first: list[float] = []
    for tool in (BASH, READ):
        steps = await _steps(rig, tool)
        first += steps.first
        found = spread(ms(steps.others))
        aims = [at_most("p50 at most 4.5", found.p50, 4.5), at_most("p99 at most 10", found.p99, 10)]
        floor = spread(ms(await calls(rig.options.folder / new_id("box"), rig.options.count(300, 50), tool)))
        title = "step" if tool is BASH else f"step with `{tool[0]}`"
        rows.append(Row(name=title, unit="ms", found=found, floor=floor, floor_name=name, aims=aims))
        rows += _messages(title, steps)
    rows.append(
        Row(name="first step, which makes the sandbox", unit="ms", found=spread(ms(first)), floor=rows[0].floor,
            floor_name=name)
    )  # fmt: skip
    return rows


def _messages(title: str, steps: Steps) -> list[Row]:
    """What a step needs at least: the commit with the answer, the call, and the commit with its result."""
    sent, stored = spread(steps.sent), spread(steps.stored)
    return [
        Row(name=f"sent to nats-server: {title}", unit="messages", found=sent, floor=spread([3.0]),
            floor_name="two commits, one call", aims=[at_most("at most 8", sent.p50, 8)]),
        Row(name=f"stored: {title}", unit="messages", found=stored, floor=spread([2.0]), floor_name="two commits",
            aims=[at_most("at most 2, rounded", round(stored.p50), 2)]),
    ]  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    with bench.rig() as rig:
        return run(lambda: _measure(rig))
