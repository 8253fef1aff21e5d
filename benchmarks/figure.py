"""A figure: what was measured, the floor of the same run, and the aim."""

import math
from collections.abc import Sequence

import msgspec


class Series(msgspec.Struct, frozen=True):
    """Measurements of one thing, or one number. `unit` is what a reader sees."""

    values: list[float]
    unit: str = "ms"

    def at(self, share: float) -> float:
        """The value that this share of the measurements does not exceed (nearest rank)."""
        ordered = sorted(self.values)
        return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else math.nan

    @property
    def median(self) -> float:
        return self.at(0.5)

    @property
    def p95(self) -> float:
        return self.at(0.95)


class Figure(msgspec.Struct, kw_only=True):
    """One line of the table. `met` None: there is no aim."""

    name: str
    measured: Series
    floor: Series | None = None
    floor_name: str = ""
    aim: str = ""
    met: bool | None = None
    note: str = ""


def milliseconds(seconds: Sequence[float]) -> Series:
    return Series([s * 1e3 for s in seconds])


def number(value: float) -> str:
    if math.isnan(value):
        return "?"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def row(figure: Figure) -> list[str]:
    """The cells of a figure in the table: name, median, p95, floor, aim, whether it is met."""
    one = len(figure.measured.values) == 1
    unit = figure.measured.unit
    cells = [figure.name, f"{number(figure.measured.median)} {unit}"]
    cells.append("" if one else f"{number(figure.measured.p95)} {unit}")
    if figure.floor is None:
        cells.append("")
    else:
        both = "" if len(figure.floor.values) == 1 else f" / {number(figure.floor.p95)}"
        cells.append(f"{number(figure.floor.median)}{both} {figure.floor.unit} ({figure.floor_name})")
    cells += [figure.aim, {True: "yes", False: "NO", None: ""}[figure.met]]
    return cells


HEADER = ["what", "median", "p95", "floor: median / p95", "aim", "met"]
