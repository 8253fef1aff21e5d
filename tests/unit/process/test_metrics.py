import re
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.process import metering, metrics
from holdfast.process.exporters import exporters
from holdfast.process.metrics import Metric, prometheus_name
from tests.support.metered import metered

UNBOUNDED = ("session", "agent.id", "agent.name", "user", "tenant", "message.id", "call.id", "subject", "generation")
"""Words of labels that would have a value for each session, or one that clients choose."""

PAGE = """
from holdfast.process import metering, metrics, telemetry
telemetry.setup("test")
for metric in metrics.ALL:
    labels = {name: "x" for name in metric.labels}
    if metric.kind == "counter":
        metering.add(metric, 1, labels)
    elif metric.kind == "histogram":
        metering.record(metric, 1, labels)
    else:
        metering.observe(metric, lambda labels=labels: [(1.0, labels)])
print(metering.page()[0].decode())
"""

OFF = """
import sys
from pathlib import Path
from holdfast.process import metering, metrics, telemetry
telemetry.setup("test")
metering.add(metrics.BUGS)
metering.observe_number(metrics.DRIVEN, lambda: 1)
print(metering.is_on(), metering.page(), metering.readings(metrics.DRIVEN))
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "prometheus_client", "requests"))])
"""


def run(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv, given = [sys.executable, "-c", program], {"PATH": "", **environ}
    return subprocess.run(argv, env=given, check=False, capture_output=True, text=True, timeout=30)


def test_names_are_unique_and_labels_have_few_values() -> None:
    assert len({m.name for m in metrics.ALL}) == len(metrics.ALL)
    declared = {value for value in vars(metrics).values() if isinstance(value, Metric)}
    assert declared == set(metrics.ALL)
    for metric in metrics.ALL:
        assert not [word for word in UNBOUNDED for label in metric.labels if word in label], metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert metric.text.endswith(".")


def test_prometheus_shows_every_metric_under_the_name_that_rules_and_dashboards_use() -> None:
    shown = run(PAGE, OTEL_METRICS_EXPORTER="prometheus")
    assert shown.returncode == 0, shown.stderr
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", shown.stdout, re.MULTILINE))
    kinds = {"counter": "counter", "histogram": "histogram", "gauge": "gauge"}
    for metric in metrics.ALL:
        assert types.get(prometheus_name(metric)) == kinds[metric.kind], metric.name
    assert re.search(r'^holdfast_failures_bugs_total{.*service_name="test"', shown.stdout, re.MULTILINE)
    assert "process_cpu_seconds_total" in shown.stdout


def test_a_counter_of_failures_begins_at_0_so_that_its_first_one_is_an_increase() -> None:
    shown = run(
        "from holdfast.process import metering, telemetry\ntelemetry.setup('test'); print(metering.page()[0].decode())",
        OTEL_METRICS_EXPORTER="prometheus",
    )
    assert shown.returncode == 0, shown.stderr
    zero = re.compile(r'^(holdfast_\S+_total){(?:holdfast_where="(\w+)",)?service_name="test"} 0\.0$', re.MULTILINE)
    counters = [metric for metric in metrics.ALL if metric.kind == "counter"]
    expected = {(prometheus_name(m), where) for m in counters for where in (m.begins if m.labels else ("",))}
    assert set(zero.findall(shown.stdout)) == expected
    assert {("holdfast_failures_bugs_total", "turn"), ("holdfast_claim_takeovers_total", "")} <= expected


def test_off_costs_nothing() -> None:
    ended = run(OFF)
    assert ended.stdout.split("\n")[:2] == ["False None []", "[]"], ended.stderr


def test_a_dead_collector_of_metrics_does_not_delay_the_exit() -> None:
    program = (
        "import time\nfrom holdfast.process import metering, metrics, telemetry\n"
        "telemetry.setup('test'); metering.add(metrics.BUGS)\n"
        "at = time.monotonic(); telemetry.shutdown(); print(time.monotonic() - at)"
    )
    ended = run(program, OTEL_EXPORTER_OTLP_ENDPOINT="http://192.0.2.1:4318")
    assert float(ended.stdout) < 3, ended.stderr


@pytest.mark.parametrize(
    ("environ", "traces", "found"),
    [
        ({}, set[str](), set[str]()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, {"otlp"}, {"otlp"}),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, {"otlp"}, set[str]()),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c"}, set[str](), {"otlp"}),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, set[str](), {"prometheus"}),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, set[str](), set[str]()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "none"}, {"otlp"}, set[str]()),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, set[str](), {"otlp"}),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRICS_EXPORTER": "otlp, prometheus"},
            {"otlp"},
            {"otlp", "prometheus"},
        ),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_SDK_DISABLED": "TRUE"}, set[str](), set[str]()),
    ],
)
def test_standard_variables_choose_the_signals(environ: dict[str, str], traces: set[str], found: set[str]) -> None:
    assert exporters("traces", environ) == traces
    assert exporters("metrics", environ) == found


def test_a_misspelt_exporter_is_refused_and_named() -> None:
    with pytest.raises(ValueError, match="OTEL_METRICS_EXPORTER: 'promethius' is not one of none, otlp, prometheus"):
        exporters("metrics", {"OTEL_METRICS_EXPORTER": "promethius"})
    with pytest.raises(ValueError, match="OTEL_TRACES_EXPORTER"):
        exporters("traces", {"OTEL_TRACES_EXPORTER": "jaeger"})


def test_a_service_with_a_misspelt_exporter_does_not_start() -> None:
    ended = run("from holdfast.vault.main import main\nmain()", OTEL_METRICS_EXPORTER="promethius")
    assert ended.returncode == 2
    assert "OTEL_METRICS_EXPORTER" in ended.stderr


def test_a_negative_duration_of_two_clocks_counts_as_zero() -> None:
    with metered() as found:
        metering.record(metrics.TURN_QUEUE, -5.0)
        assert found.points(metrics.TURN_QUEUE) == [({}, (1, 0.0))]


def test_a_gauge_adds_what_its_readers_show_and_a_stopped_process_shows_none() -> None:
    with metered() as found:
        metering.observe_number(metrics.DRIVEN, lambda: 3)
        assert found.points(metrics.DRIVEN) == [({}, 3)]
    assert metering.readings(metrics.DRIVEN) == []


def test_the_operators_guide_lists_every_metric() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
    assert [metric.name for metric in metrics.ALL if f"`{metric.name}`" not in guide] == []
