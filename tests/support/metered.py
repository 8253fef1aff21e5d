"""Metrics: those of this process while a block runs, and those that a process shows on `/metrics`."""

import contextlib
from collections.abc import Generator, Iterable
from typing import Any, cast

import httpx
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from holdfast.process import metering, telemetry
from holdfast.process.metrics import Metric, prometheus_name


class Metered:
    """What was recorded in this process since the block began."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader

    def points(self, metric: Metric) -> list[tuple[dict[str, Any], Any]]:
        """Labels and value of each series; the value of a histogram is its count and sum."""
        data = self._reader.get_metrics_data()
        found: list[tuple[dict[str, Any], Any]] = []
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for shown in scope.metrics:
                    if shown.name == metric.name:
                        for point in shown.data.data_points:
                            value: Any = point
                            value = (value.count, value.sum) if metric.kind == "histogram" else value.value
                            if metric.kind == "counter" and not value:
                                continue  # counters of failures begin with 0
                            found.append((dict(cast("Any", point.attributes)), value))
        return found


@contextlib.contextmanager
def metered() -> Generator[Metered]:
    """Record with the real SDK while the block runs."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metering.install(telemetry.instruments(provider.get_meter("test")), None)
    try:
        yield Metered(reader)
    finally:
        metering.uninstall()
        provider.shutdown()


async def scrape(addresses: Iterable[str]) -> dict[str, dict[str, float]]:
    """The samples of `/metrics` of these addresses, added up: by name, then by labels (`a=1,b=2`, sorted)."""
    found: dict[str, dict[str, float]] = {}
    async with httpx.AsyncClient(trust_env=False) as client:
        for address in addresses:
            answer = await client.get(f"{address}/metrics")
            assert answer.status_code == 200, answer.text
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                    series = found.setdefault(sample.name, {})
                    series[labels] = series.get(labels, 0.0) + sample.value
    return found


def total(samples: dict[str, dict[str, float]], metric: Metric, suffix: str = "") -> float:
    """The sum over all series of a metric; `suffix` `_count` or `_sum` of a histogram. 0 if there is none."""
    return sum(samples.get(prometheus_name(metric) + suffix, {}).values())
