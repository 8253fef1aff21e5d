"""Memory of each process: idle after its start, and with sessions that had a turn and rest.

Idle, each stands beside what it would be if Holdfast cost nothing: a bare Python process, or the server alone.
What a resting session costs is the growth between the first half of the sessions and all of them, so that what a
process allocates once (connections, caches, the allocator's own reserves) is not counted as the sessions'.
"""

import asyncio
import contextlib
import subprocess
import sys
from typing import Any

import psutil
from anthropic import AsyncAnthropic

from benchmarks.result import Aim, Row, at_most, spread
from benchmarks.rig import Bench, Options, Rig, message, rested, run, session_key
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.bao import BaoServer
from tests.support.eventually import eventually
from tests.support.model import bash, say
from tests.support.servers import NatsServer
from tests.support.stack import Stack

TITLE = "memory of each process (PSS in MiB), and per resting session (KiB)"

MAX_IDLE_MIB = {"anthropic": 350, "messages": 280}
"""PSS of all processes of an idle stack, by kind of the model client."""

SUPERVISOR = "up"

Look = dict[str, tuple[float, float]]
"""PSS and RSS in MiB by the name of the process."""

AT_ONCE = 20
IDLE_AFTER = 3
"""Seconds after which the sandbox of a resting session ends, in this figure; 15 minutes otherwise."""

NOTHING = 2.0
"""KiB a session below which a growth is the allocator's noise."""


def _pss(pid: int) -> tuple[float, float]:
    """PSS and RSS in MiB. A process that forbids inspection shows its PSS to root alone."""
    found = psutil.Process(pid).memory_full_info()
    return found.pss / 2**20, found.rss / 2**20


def look(stack: Stack) -> Look:
    """PSS and RSS of every process of the stack; the children of a service, such as a watchdog, are one entry."""
    run = stack.run
    names = {run.supervisor: SUPERVISOR, **{pid: name for name, pid in run.processes.items()}}
    for child in psutil.Process(run.supervisor).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.setdefault(child.pid, f"children of {names.get(child.ppid(), 'others')}")
    found: Look = {}
    for pid, name in names.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            pss, rss = _pss(pid)
            before = found.get(name, (0.0, 0.0))
            found[name] = (before[0] + pss, before[1] + rss)
    return dict(sorted(found.items()))


async def _floors(options: Options) -> Look:
    """PSS and RSS of a bare Python process (under the name of the supervisor), of nats-server and OpenBao alone.

    Called while no stack runs: two servers would share the pages of their program, and each would have half of them.
    """
    folder = options.folder / new_id("floor")
    folder.mkdir()
    nats, bao = NatsServer(folder / "nats"), BaoServer(folder / "bao")
    python = subprocess.Popen(  # noqa: ASYNC220  it returns at once
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        await nats.start()
        await bao.start()
        assert python.stdout
        python.stdout.readline()
        await _settle(options)
        return {SUPERVISOR: _pss(python.pid), "nats": _pss(nats.pid), "bao": _pss(bao.pid)}
    finally:
        python.communicate(b"\n")
        nats.kill()
        bao.kill()


async def _settle(options: Options) -> None:
    await asyncio.sleep(options.count(30, 10) / 10)


def _idle_rows(idle: Look, floors: Look, limit: int) -> list[Row]:
    """A row for each process, and one for all of them."""
    names = {SUPERVISOR: "bare Python", "nats": "nats-server alone", "bao": "OpenBao alone"}
    kinds = {name: name if name in floors else SUPERVISOR for name in idle}
    rows = [
        Row(
            name=f"{name}, idle", unit="MiB", found=spread([pss]), note=f"RSS {rss:.0f}",
            floor=spread([floors[kinds[name]][0]]), floor_name=names[kinds[name]],
        )
        for name, (pss, rss) in idle.items()
    ]  # fmt: skip
    pss, rss = (sum(both[n] for both in idle.values()) for n in (0, 1))
    least = sum(floors[kind][0] for kind in kinds.values())
    rows.append(
        Row(name="all processes, idle", unit="MiB", found=spread([pss]), note=f"RSS {rss:.0f}",
            floor=spread([least]), floor_name="their floors together",
            aims=[at_most(f"at most {limit}", pss, limit)])
    )  # fmt: skip
    return rows


async def _turns(rig: Rig, client: AsyncAnthropic, bus: NatsBus, count: int, scenario: str) -> None:
    """That many new sessions, a turn each, through the bus: the client of the test keeps nothing open."""
    sessions = await rig.sessions(client, count)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(session: str) -> None:
        async with gate:
            await bus.inbox.put(session_key(session), message(scenario))
            await rested(bus, session_key(session), 0)

    await asyncio.gather(*(one(session) for session in sessions))


def _children(rig: Rig) -> int:
    """Processes of sandboxes that live."""
    count = 0
    for process in psutil.Process(rig.stack.pid("sandbox")).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            count += "bwrap" in process.name()
    return count


async def _measure(rig: Rig, floors: Look) -> list[Row]:
    count = rig.options.count(1000, 40)
    hello = await rig.scenario(say("Good."))
    tool = await rig.scenario(bash("echo hello"), say("Done."))
    await _settle(rig.options)
    idle = look(rig.stack)
    async with rig.client() as client, rig.bus() as bus:
        await _turns(rig, client, bus, max(count // 10, AT_ONCE), hello)  # whatever is allocated once
        await _turns(rig, client, bus, count // 2, hello)
        await asyncio.sleep(2)
        half = look(rig.stack)
        await _turns(rig, client, bus, count // 2, hello)
        await asyncio.sleep(2)
        full = look(rig.stack)
        await _turns(rig, client, bus, rig.options.count(40, 4), tool)
        boxes = _children(rig)

        async def gone() -> bool:
            return _children(rig) == 0

        await eventually(gone, within=IDLE_AFTER + 30, what="sandboxes ended")
        await asyncio.sleep(2)
        after = look(rig.stack)
    rows = _idle_rows(idle, floors, MAX_IDLE_MIB[rig.options.model]) + [
        _row(name, idle, half, full, count) for name in idle
    ]
    grown = (after["sandbox"][0] - full["sandbox"][0]) * 1024 / rig.options.count(40, 4)
    rows.append(
        Row(name="sandbox: per session that ran a tool and rests", unit="KiB", found=spread([grown]),
            note=f"{boxes} processes of bubblewrap lived and have ended")
    )  # fmt: skip
    return rows


def _row(name: str, idle: Any, half: Any, full: Any, count: int) -> Row:
    grown = (full[name][0] - half[name][0]) * 1024 / (count - count // 2)
    kind = name.partition("-")[0]
    aims: list[Aim] = []
    if kind in ("harness", "sandbox"):
        aims = [at_most(f"none for a resting session (KiB; noise up to {NOTHING:g})", grown, NOTHING)]
    return Row(
        name=f"{name}, with all sessions resting", unit="MiB", found=spread([full[name][0]]),
        floor=spread([idle[name][0]]), floor_name="the same, idle", aims=aims,
        note=f"RSS {idle[name][1]:.0f} idle, {full[name][1]:.0f} then; {grown:.2f} KiB a session",
    )  # fmt: skip


def figure(bench: Bench) -> list[Row]:
    floors = run(lambda: _floors(bench.options))
    with bench.rig(own=True, environ={"HOLDFAST_IDLE_AFTER": str(IDLE_AFTER)}) as rig:
        return run(lambda: _measure(rig, floors))
