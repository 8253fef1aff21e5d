"""`holdfast up` until everything is ready, on a new folder and on one that was used before."""

import subprocess
import sys
import time

from benchmarks.bed import bed
from benchmarks.figure import Figure, Series

RUNS = 5
MOST = 4.0
"""Seconds."""


def measure() -> list[Figure]:
    imports = [_seconds([sys.executable, "-c", "import services.session.main"]) for _ in range(RUNS)]
    floor = Series(imports, "s")
    fresh: list[float] = []
    again: list[float] = []
    for _ in range(RUNS):
        with bed() as running:
            fresh.append(running.took)
            running.stop()
            running.start()
            again.append(running.took)
    first, second = Series(fresh, "s"), Series(again, "s")
    name = "one service's imports"
    return [
        Figure(name=what, measured=s, floor=floor, floor_name=name, aim="≤ 4 s", met=s.median <= MOST)
        for what, s in (("up → ready, new folder", first), ("up → ready, used folder", second))
    ]


def _seconds(argv: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(argv, check=True)
    return time.monotonic() - began
