"""What a figure found: samples in, rows out. Each row stands beside the floor that was measured in the same run."""

import math
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A sample. Of a rate, `p95` is what 95 of 100 rounds reach: the low end."""

    n: int
    p50: float
    p95: float
    p99: float
    least: float
    most: float


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for (`text`), what was found (`value`, in the words of the text), and whether it was met."""

    text: str
    value: float
    met: bool


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table. `floor` is the same machine in the same run without the thing that is measured."""

    name: str
    unit: str
    found: Spread
    floor: Spread | None = None
    floor_name: str = ""
    aims: list[Aim] = []
    note: str = ""


def spread(values: Sequence[float], *, rate: bool = False) -> Spread:
    """Percentiles by the nearest rank. Raises ValueError for an empty sample."""
    if not values:
        raise ValueError("nothing was measured")
    up = sorted(values)
    tail = list(reversed(up)) if rate else up

    def rank(data: Sequence[float], share: float) -> float:
        return data[max(0, math.ceil(share * len(data)) - 1)]

    return Spread(
        n=len(up), p50=rank(up, 0.5), p95=rank(tail, 0.95), p99=rank(tail, 0.99), least=up[0], most=up[-1]
    )  # fmt: skip


def at_most(text: str, value: float, limit: float) -> Aim:
    return Aim(text=text, value=value, met=value <= limit)


def at_least(text: str, value: float, limit: float) -> Aim:
    return Aim(text=text, value=value, met=value >= limit)
