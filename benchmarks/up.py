"""From starting `holdfast up` to its readiness: on an empty folder, and again on what it left there."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.result import Row, at_most, spread
from benchmarks.rig import Bench
from holdfast.bus.ids import new_id
from tests.support.model import scripted_model
from tests.support.stack import Stack

TITLE = "`holdfast up` to ready (s)"


def _start(stack: Stack) -> float:
    begin = time.monotonic()
    stack.start()
    return time.monotonic() - begin


def _import(count: int) -> list[float]:
    """The floor: a Python process that imports the SDK, which every harness must."""
    found: list[float] = []
    for _ in range(count):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", "import anthropic"], check=True)
        found.append(time.monotonic() - begin)
    return found


def figure(bench: Bench) -> list[Row]:
    rounds = bench.options.count(7, 2)
    first: list[float] = []
    again: list[float] = []
    folder: Path = bench.options.folder / new_id("up")
    folder.mkdir()
    with scripted_model("--bench", log=folder / "model.log") as model:
        for number in range(rounds):
            stack = Stack(folder / str(number), model, bench.options.environ, 2, sync=bench.options.sync)
            try:
                first.append(_start(stack))
                stack.stop()
                again.append(_start(stack))
                stack.stop()
            finally:
                stack.kill_all()
    floor = spread(_import(rounds))
    rows: list[Row] = []
    for name, times in (("first start", first), ("started again", again)):
        found = spread(times)
        aims = [at_most("at most 4", found.p95, 4)]
        rows.append(Row(name=name, unit="s", found=found, floor=floor, floor_name="import anthropic", aims=aims))
    return rows
