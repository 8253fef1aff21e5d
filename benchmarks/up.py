"""From starting `holdfast up` to its readiness, on an empty folder and again on what it left there, and the memory that
it takes then. With each kind of model client.

OpenBao alone is the floor: nothing is ready before it is. On an empty folder its Raft library waits 1 to 2 s, at
random, before a node without peers elects itself, and its self-initialisation looks once a second whether it has.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.memory import MAX_IDLE_MIB, Look, look
from benchmarks.result import Row, at_most, spread
from benchmarks.rig import KINDS, Bench
from holdfast.bus.ids import new_id
from tests.support.bao import BaoServer
from tests.support.model import ScriptedModel, scripted_model
from tests.support.stack import Stack

TITLE = "`holdfast up` to ready (s) and its memory (PSS in MiB), `holdfast --help` (s)"

MAX_READY_S = {"anthropic": 2.5, "messages": 2.0}
"""By kind of the model client."""

REST_S = 5
"""Seconds from readiness to the look at the memory."""

MAX_HELP_S = 0.5

HOLDFAST = str(Path(sys.executable).with_name("holdfast"))


def _start(stack: Stack) -> float:
    begin = time.monotonic()
    stack.start()
    return time.monotonic() - begin


def _bao(server: BaoServer) -> float:
    begin = time.monotonic()
    asyncio.run(server.start())
    return time.monotonic() - begin


def _run(*argv: str) -> float:
    begin = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


class Starts(msgspec.Struct, frozen=True):
    """Seconds of first starts and of later ones, and the memory after each of the later ones."""

    first: list[float] = []
    again: list[float] = []
    memory: list[Look] = []


def _round(bench: Bench, folder: Path, model: ScriptedModel, kind: str, starts: Starts) -> None:
    environ = {**bench.options.environ, "HOLDFAST_MODEL": kind}
    stack = Stack(folder, model, environ, 2, sync=bench.options.sync)
    try:
        starts.first.append(_start(stack))
        stack.stop()
        starts.again.append(_start(stack))
        time.sleep(bench.options.count(REST_S, 1))
        starts.memory.append(look(stack))
        stack.stop()
    finally:
        stack.kill_all()


def _rows(kind: str, starts: Starts, bao: Starts) -> list[Row]:
    limit, most = MAX_READY_S[kind], MAX_IDLE_MIB[kind]
    rows: list[Row] = []
    for name, times, floor in (("first start", starts.first, bao.first), ("started again", starts.again, bao.again)):
        found = spread(times)
        aims = [at_most(f"median at most {limit}", found.p50, limit)]
        rows.append(
            Row(name=f"{name}, `{kind}`", unit="s", found=found, floor=spread(floor),
                floor_name="OpenBao alone, active", aims=aims)
        )  # fmt: skip
    sums = spread([sum(pss for pss, _ in each.values()) for each in starts.memory])
    note = ", ".join(f"{name} {pss:.0f}" for name, (pss, _) in starts.memory[-1].items())
    rows.append(
        Row(name=f"all processes at rest, `{kind}`", unit="MiB", found=sums, note=f"PSS: {note}",
            floor=spread([each["bao"][0] + each["nats"][0] for each in starts.memory]), floor_name="OpenBao and NATS",
            aims=[at_most(f"median at most {most}", sums.p50, most)])
    )  # fmt: skip
    return rows


def figure(bench: Bench) -> list[Row]:
    starts = {kind: Starts() for kind in KINDS}
    bao_alone = Starts()
    helps: list[float] = []
    pythons: list[float] = []
    folder: Path = bench.options.folder / new_id("up")
    folder.mkdir()
    with scripted_model("--bench", log=folder / "model.log") as model:
        for number in range(bench.options.count(7, 2)):
            for kind in KINDS:  # in turn, because the speed of the machine changes
                _round(bench, folder / f"{kind}-{number}", model, kind, starts[kind])
            bao = BaoServer(folder / f"bao-{number}")
            try:
                bao_alone.first.append(_bao(bao))
                bao.kill()
                bao_alone.again.append(_bao(bao))
            finally:
                bao.kill()
            helps.append(_run(HOLDFAST, "--help"))
            pythons.append(_run(sys.executable, "-c", ""))
    rows = [row for kind in KINDS for row in _rows(kind, starts[kind], bao_alone)]
    found = spread(helps)
    aims = [at_most(f"median at most {MAX_HELP_S}", found.p50, MAX_HELP_S)]
    floor_name = "a bare Python process"
    rows.append(
        Row(name="holdfast --help", unit="s", found=found, floor=spread(pythons), floor_name=floor_name, aims=aims)
    )
    return rows
