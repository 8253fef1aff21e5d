"""`python -m benchmarks [FIGURE …]`: run the figures and print them, each beside its floor from the same run."""

import datetime as dt
import importlib
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from benchmarks.facts import facts
from benchmarks.result import Row, Spread
from benchmarks.rig import Bench, Options

FIGURES = ("ttft", "warm", "step", "throughput", "wake", "takeover", "interrupt", "memory", "up", "creates",
           "viewers", "erase", "pub", "files", "egress", "tasks", "tracing", "resting", "scale")  # fmt: skip
"""One module each, with TITLE and `figure(bench) -> rows`."""

RESULTS = Path(__file__).parent / "results"

app = App(name="benchmarks", help=__doc__)


@app.default
def bench(
    *figures: str,
    listed: Annotated[bool, Parameter(name="--list", negative="")] = False,
    quick: bool = False,
    sync: str = "always",
    model: Literal["anthropic", "messages"] = "anthropic",
    baseline: bool = False,
) -> int:
    """Run the figures, or those that are named, and write them to benchmarks/results/.

    Parameters
    ----------
    figures
        Names as --list shows them; none: all.
    listed
        Say which figures there are, and stop.
    quick
        Few samples, one minute in all: to see that everything runs. The numbers mean little.
    sync
        When an append is on disk, as for `holdfast up`.
    model
        Kind of the client with which the harnesses call the model: HOLDFAST_MODEL.
    baseline
        Keep the result as results/baseline.json.
    """
    modules = {
        name: importlib.import_module(f"benchmarks.{name}") for name in FIGURES if not figures or name in figures
    }
    if unknown := set(figures) - set(FIGURES):
        print(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}", file=sys.stderr)
        return 2
    if listed:
        for name, module in modules.items():
            print(f"{name:12}{module.TITLE}")
        return 0
    console = Console(width=None if sys.stdout.isatty() else 150)
    began = dt.datetime.now(dt.UTC)
    told: dict[str, Any] = {
        "at": began.isoformat(timespec="seconds"),
        "quick": quick,
        "sync": sync,
        "model": model,
        **facts(),
    }
    found: dict[str, Any] = {}
    failed = False
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        run = Bench(Options(folder=Path(folder), quick=quick, sync=sync, model=model))
        try:
            for name, module in modules.items():
                begin = time.monotonic()
                try:
                    rows: list[Row] = module.figure(run)
                except Exception:  # noqa: BLE001  the other figures are still worth having
                    console.print(f"[red]{name} could not be measured[/red]")
                    traceback.print_exc()
                    failed = True
                    continue
                seconds = time.monotonic() - begin
                found[name] = {"title": module.TITLE, "seconds": round(seconds, 1), "rows": msgspec.to_builtins(rows)}
                console.print(_table(f"{name}: {module.TITLE}", rows))
        finally:
            run.close()
    text = msgspec.json.format(msgspec.json.encode({"facts": told, "figures": found}), indent=1)
    (RESULTS / f"{began:%Y-%m-%d-%H%M%S}.json").write_bytes(text)
    if baseline:
        (RESULTS / "baseline.json").write_bytes(text)
    return 1 if failed else 0


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cells(spread: Spread | None) -> list[str]:
    return [_number(spread.p50), _number(spread.p95)] if spread else ["", ""]


def _ratio(row: Row) -> str:
    """The median as a multiple of the floor's; empty if there is no floor, or it is zero."""
    return f"{row.found.p50 / row.floor.p50:.2f}" if row.floor and row.floor.p50 else ""


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("what")
    for head in ("n", "median", "p95", "p99", "floor", "p95", "ratio"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("floor is")
    table.add_column("aim")
    table.add_column("found", justify="right")
    for row in rows:
        what = f"{row.name} ({row.unit})" + (f"\n[dim]{row.note}[/dim]" if row.note else "")
        aims = "\n".join(a.text for a in row.aims)
        said = "\n".join(
            f"{_number(a.value)} " + ("[green]met[/green]" if a.met else "[red]missed[/red]") for a in row.aims
        )
        table.add_row(
            what, str(row.found.n), *_cells(row.found), _number(row.found.p99),
            *_cells(row.floor), _ratio(row), row.floor_name, aims, said,
        )  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(app(result_action="return_value"))
