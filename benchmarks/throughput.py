"""Steps per second while sessions loop: a model answer, a tool call in the sandbox, both in the log.

The rate is that of the stretch in which all sessions were at work. Beside it how many calls a second one client of the
SDK makes to the same model, with a history of the same length, doing nothing else. The processor time of every process
that a step takes, the sandboxes and the client included. And the bytes that a step leaves in the log, in the first half
of a session and in the second. The largest run is made with each kind of model client.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import psutil
from anthropic import AsyncAnthropic

from benchmarks.creates import saturate
from benchmarks.result import Aim, Row, at_least, at_most, spread
from benchmarks.rig import KINDS, MODEL, Bench, Rig, message, new_mark, rested, run, said, session_key
from holdfast.bus import codec
from holdfast.bus import events as ev
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from holdfast.harness.tools.offered_tools import offered
from tests.support.model import Json, bash, say

TITLE = "steps per second, sessions looping with a tool call each"

COMMAND = "echo hello"
PLAN = ((1, 200, 20), (10, 100, 10), (100, 40, 4))
"""Sessions at once, steps of each, steps in a quick run."""

MIN_RATE = {"anthropic": 400, "messages": 500}
"""Steps a second that 100 sessions should reach, by kind of the model client."""

LOAD = ("client", "model")
"""Processes without which nothing could be measured."""


class Looped(NamedTuple):
    """What a run gave. `busy` is processor seconds a step by process; `log` and `inbox` bytes a step in the streams."""

    sessions: list[str]
    rates: list[float]
    busy: dict[str, float]
    log: float
    inbox: float


async def _loop(rig: Rig, client: AsyncAnthropic, bus: NatsBus, count: int, steps: int) -> Looped:
    """All sessions at once; the rates are those of up to ten slices of the stretch in which all were at work."""
    scenario = await rig.scenario(*[bash(COMMAND)] * steps, say("Done."))
    warm = await rig.scenario(bash("true"), say("Ready."))
    sessions = await rig.sessions(client, count)
    keys = [session_key(session) for session in sessions]

    async def turn(key: Key, name: str, mark: str, after: int) -> int:
        await bus.inbox.put(key, message(name, mark))
        return await rested(bus, key, after)

    ends = [await turn(key, warm, "", 0) for key in keys]  # makes the sandboxes, one after the other
    mark = new_mark()
    spent, log, inbox = _processor_seconds(rig), *await _stored(rig)
    await asyncio.gather(*(turn(key, scenario, mark, at) for key, at in zip(keys, ends, strict=True)))
    records = await rig.records(mark, ended=count * (steps + 1))
    # A session ends with a request whose step is the last one; until the first of these all were at work.
    until = min(r.received for r in records if r.step == steps)
    since = max(r.received for r in records if r.step == 0)
    inside = [r.received for r in records if since < r.received <= until]
    assert len(inside) >= 10, "too few steps to see a rate"
    pieces = max(1, min(10, len(inside) // 20))
    edges = [since + (until - since) * i / pieces for i in range(pieces + 1)]
    slices = [sum(low < at <= high for at in inside) / (high - low) for low, high in pairwise(edges)]
    total = count * steps
    busy = {name: (seconds - spent.get(name, 0)) / total for name, seconds in _processor_seconds(rig).items()}
    now_log, now_inbox = await _stored(rig)
    return Looped(sessions, slices, busy, (now_log - log) / total, (now_inbox - inbox) / total)


async def _stored(rig: Rig) -> tuple[int, int]:
    """Bytes in LOG and INBOX."""
    async with rig.link("admin") as admin:
        log, inbox = [await admin.api(f"STREAM.INFO.{name}") for name in ("LOG_a0", "INBOX_a0")]
    return log["state"]["bytes"], inbox["state"]["bytes"]


async def _direct(rig: Rig, count: int, steps: int, seconds: float) -> list[float]:
    """The floor: calls a second of one SDK client, `count` at once, with half of a session's history."""
    scenario = await rig.scenario(*[bash(COMMAND)] * (steps + 1), say("Done."))
    messages: list[Json] = [{"role": "user", "content": said(scenario)["content"]}]
    for number in range(steps // 2):
        call = {"type": "tool_use", "id": f"toolu_{number:024}", "name": "bash", "input": {"command": COMMAND}}
        text = [{"type": "text", "text": "hello\n"}]
        messages.append({"role": "assistant", "content": [call]})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": text}
        messages.append({"role": "user", "content": [result]})
    tools = offered({"tools": [{"type": "agent_toolset_20260401"}]})
    body: Any = {"model": MODEL, "max_tokens": 16_384, "messages": messages, "tools": tools}
    async with rig.direct() as model:

        async def once() -> None:
            async for _ in await model.messages.create(**body, stream=True):
                pass

        await saturate([once] * count, seconds / 5)
        return [await saturate([once] * count, seconds / 5) for _ in range(5)]


def _processor_seconds(rig: Rig) -> dict[str, float]:
    """Processor time of each process so far. `boxes` are the sandboxes that live, with the commands that have ended."""
    run = rig.stack.run
    pids = {**run.processes, "up": run.supervisor, "model": rig.model.pid, "client": os.getpid()}
    found = {name: _spent(psutil.Process(pid)) for name, pid in pids.items()}
    found["boxes"] = 0.0
    for process in psutil.Process(run.processes["sandbox"]).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found["boxes"] += times.user + times.system + times.children_user + times.children_system
    return found


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _sizes(bus: NatsBus, key: Key) -> tuple[list[int], int]:
    """Bytes in the log from each model request to the next, and how many messages a step has."""
    sizes: list[int] = []
    messages = 0
    for stored in await bus.log.read(key):
        data, bodies = codec.encode_commit(stored.commit)
        if any(isinstance(e, ev.ModelRequestStart) for e in stored.commit.events):
            sizes.append(0)
        if sizes:
            sizes[-1] += len(data) + sum(len(b.data) for b in bodies)
            messages += 1
    return sizes[3:-1], messages // len(sizes)


async def _measure(rig: Rig, kind: str, plan: Sequence[tuple[int, int, int]]) -> list[Row]:
    rows: list[Row] = []
    async with rig.client() as client, rig.bus() as bus:
        for count, full, quick in plan:
            steps = rig.options.count(full, quick)
            looped = await _loop(rig, client, bus, count, steps)
            floor = spread(await _direct(rig, count, steps, rig.options.count(50, 5) / 10), rate=True)
            found = spread(looped.rates, rate=True)
            aims: list[Aim] = []
            if count == 100:
                least = MIN_RATE[kind]
                aims = [
                    at_least("at least 0.5 of the floor", found.p50 / floor.p50, 0.5),
                    at_least(f"at least {least}", found.p50, least),
                ]
            name = f"{count} session{'s' * (count > 1)}, `{kind}`"
            rows.append(
                Row(name=name, unit="1/s", found=found, floor=floor, floor_name="SDK calls at the model", aims=aims)
            )
            rows.append(_busy(name, looped.busy))
            if count == 10:
                rows.append(await _bytes(bus, session_key(looped.sessions[0]), looped))
            await rig.forget(client, looped.sessions)
    return rows


async def looped(rig: Rig, count: int) -> Looped:
    """That many sessions at once, which are archived then."""
    steps = next(rig.options.count(full, quick) for sessions, full, quick in PLAN if sessions == count)
    async with rig.client() as client, rig.bus() as bus:
        found = await _loop(rig, client, bus, count, steps)
        await rig.forget(client, found.sessions)
        return found


def _busy(name: str, busy: dict[str, float]) -> Row:
    """Processor time a step; the floor is that of the load."""
    note = ", ".join(f"{process} {spent * 1e3:.2f}" for process, spent in sorted(busy.items()) if spent > 5e-6)
    return Row(
        name=f"processor time a step: {name}", unit="ms", found=spread([sum(busy.values()) * 1e3]),
        floor=spread([sum(busy[process] for process in LOAD) * 1e3]), floor_name="client and model alone", note=note,
    )  # fmt: skip


async def _bytes(bus: NatsBus, key: Key, looped: Looped) -> Row:
    sizes, messages = await _sizes(bus, key)
    half = len(sizes) // 2
    first, second = spread([float(s) for s in sizes[:half]]), spread([float(s) for s in sizes[half:]])
    return Row(
        name="stored per step, second half of a session", unit="bytes", found=second, floor=first,
        floor_name="the first half", aims=[at_most("linear: at most 1.05 of it", second.p50 / first.p50, 1.05)],
        note=f"{messages} commits a step; with all overhead {looped.log:,.0f} in LOG, {looped.inbox:,.0f} in INBOX",
    )  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    chosen = bench.options.model
    with bench.rig() as rig:
        rows = run(lambda: _measure(rig, chosen, PLAN))
    for kind in KINDS:
        if kind != chosen:
            with bench.rig(own=True, environ={"HOLDFAST_MODEL": kind}) as rig:
                rows += run(lambda rig=rig, kind=kind: _measure(rig, kind, PLAN[-1:]))
    return rows
