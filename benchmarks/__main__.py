"""Runs the figures one after the other, prints the table, and writes it with all values to benchmarks/results/."""

import json
import platform
import sys
import time
from importlib import import_module
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.figure import HEADER, Figure, row

NAMES = (
    "startup",
    "input_to_model",
    "first_token",
    "tool_step",
    "interrupts",
    "takeover",
    "steps",
    "throughput",
    "cold_wake",
    "memory",
)
"""One module a figure, with `measure() -> list[Figure]`."""

RESULTS = Path(__file__).parent / "results"


def main(names: list[str]) -> int:
    """Exit code 1 when an aim is missed."""
    console = Console()
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        console.print(f"unknown: {', '.join(unknown)}. There are: {', '.join(NAMES)}")
        return 2
    console.print(f"{machine()}; load before: {psutil.getloadavg()[0]:.1f}")
    figures: list[Figure] = []
    for name in names or NAMES:
        began = time.monotonic()
        found = import_module(f"benchmarks.{name}").measure()
        figures += found
        write(name, found)
        console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    show(console, figures)
    return 0 if all(f.met is not False for f in figures) else 1


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


def show(console: Console, figures: list[Figure]) -> None:
    table = Table(*HEADER)
    for figure in figures:
        table.add_row(*row(figure))
    console.print(table)
    for figure in figures:
        if figure.note:
            console.print(f"{figure.name}: {figure.note}", style="dim")


def write(name: str, figures: list[Figure]) -> None:
    """All values as JSON, and the table as text."""
    RESULTS.mkdir(exist_ok=True)
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    lines += ["| " + " | ".join(row(f)) + " |" for f in figures]
    lines += ["", *(f"{f.name}: {f.note}" for f in figures if f.note), "", f"Measured on {machine()}."]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    data = {"machine": machine(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    data["figures"] = [plain(f) for f in figures]
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def plain(figure: Figure) -> dict[str, object]:
    """A figure with its values rounded, as JSON."""
    floor = figure.floor
    return {
        "name": figure.name,
        "unit": figure.measured.unit,
        "median": round(figure.measured.median, 4),
        "p95": round(figure.measured.p95, 4),
        "values": [round(v, 4) for v in figure.measured.values[:1000]],
        "floor": {
            "name": figure.floor_name,
            "unit": floor.unit,
            "median": round(floor.median, 4),
            "p95": round(floor.p95, 4),
        }
        if floor
        else None,
        "aim": figure.aim,
        "met": figure.met,
        "note": figure.note,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
