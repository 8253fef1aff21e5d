"""Recording of metrics. While nobody reads them nothing is recorded: a call is then one look into an empty dictionary.

`telemetry.setup` installs the instruments, if the environment asks for metrics. This module knows no library, so that
programs that only print a health report need not load one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from holdfast.process.metrics import NO_LABELS, Labels, Metric

Page = tuple[bytes, str]
"""A body and its content type."""

Reading = tuple[float, Labels]

_instruments: Final[dict[str, Any]] = {}
_readers: Final[dict[str, list[Callable[[], Iterable[Reading]]]]] = {}
_pages: Final[list[Callable[[], Page]]] = []


def install(instruments: Mapping[str, Any], page: Callable[[], Page] | None) -> None:
    """Record with these instruments of OpenTelemetry from now on, by name. `page` renders them all for a scraper."""
    _instruments.update(instruments)
    if page is not None:
        _pages[:] = [page]


def is_on() -> bool:
    """Whether anybody reads the metrics. Ask before work whose only purpose is to record its result."""
    return bool(_instruments)


def add(metric: Metric, amount: float = 1, labels: Labels = NO_LABELS) -> None:
    """Raise a counter."""
    if (instrument := _instruments.get(metric.name)) is not None:
        instrument.add(amount, labels)


def record(metric: Metric, value: float, labels: Labels = NO_LABELS) -> None:
    """One more value of a histogram. A negative one, of two clocks that disagree, counts as 0."""
    if (instrument := _instruments.get(metric.name)) is not None:
        instrument.record(max(value, 0.0), labels)


def observe(metric: Metric, read: Callable[[], Iterable[Reading]]) -> None:
    """Have `read` called whenever a gauge is read, perhaps in another thread, until the process ends."""
    if is_on():
        _readers.setdefault(metric.name, []).append(read)


def observe_number(metric: Metric, read: Callable[[], float]) -> None:
    """As `observe`, for a gauge without labels."""
    observe(metric, lambda: [(read(), NO_LABELS)])


def readings(metric: Metric) -> list[Reading]:
    """What the gauge shows now."""
    return [reading for read in list(_readers.get(metric.name, ())) for reading in read()]


def page() -> Page | None:
    """All metrics of the process in the text format of Prometheus; None if that was not asked for."""
    return _pages[0]() if _pages else None


def uninstall() -> None:
    """Record nothing any more, and forget the gauges."""
    for kept in (_instruments, _readers, _pages):
        kept.clear()
