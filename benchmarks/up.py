"""From starting `holdfast up` to its readiness: on an empty folder, and again on what it left there.

OpenBao alone is the floor: nothing is ready before it is. On an empty folder its Raft library waits 1 to 2 s, at
random, before a node without peers elects itself.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench
from holdfast.bus.ids import new_id
from tests.support.bao import BaoServer
from tests.support.model import scripted_model
from tests.support.stack import Stack

TITLE = "`holdfast up` to ready, `holdfast --help` (s)"

MAX_READY_S = 2.5
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


def figure(bench: Bench) -> list[Row]:
    rounds = bench.options.count(7, 2)
    first: list[float] = []
    again: list[float] = []
    bao_first: list[float] = []
    bao_again: list[float] = []
    helps: list[float] = []
    pythons: list[float] = []
    folder: Path = bench.options.folder / new_id("up")
    folder.mkdir()
    with scripted_model("--bench", log=folder / "model.log") as model:
        for number in range(rounds):
            stack = Stack(folder / str(number), model, bench.options.environ, 2, sync=bench.options.sync)
            bao = BaoServer(folder / f"bao-{number}")
            try:
                first.append(_start(stack))
                stack.stop()
                again.append(_start(stack))
                stack.stop()
                bao_first.append(_bao(bao))
                bao.kill()
                bao_again.append(_bao(bao))
            finally:
                stack.kill_all()
                bao.kill()
            helps.append(_run(HOLDFAST, "--help"))
            pythons.append(_run(sys.executable, "-c", ""))
    rows: list[Row] = []
    for name, times, floor in (("first start", first, bao_first), ("started again", again, bao_again)):
        found = spread(times)
        aims = [at_most(f"median at most {MAX_READY_S}", found.p50, MAX_READY_S)]
        rows.append(
            Row(name=name, unit="s", found=found, floor=spread(floor), floor_name="OpenBao alone, active", aims=aims)
        )
    found = spread(helps)
    aims = [at_most(f"median at most {MAX_HELP_S}", found.p50, MAX_HELP_S)]
    floor_name = "a bare Python process"
    rows.append(
        Row(name="holdfast --help", unit="s", found=found, floor=spread(pythons), floor_name=floor_name, aims=aims)
    )
    return rows
