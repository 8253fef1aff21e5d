"""The dashboard and the alert rules use metrics and labels that exist, and each rule says what to do."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.process import metrics
from holdfast.process.metrics import Metric, prometheus_name

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana"
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
SERIES = {prometheus_name(m) + suffix: m for m in metrics.ALL for suffix in SUFFIXES[m.kind]}
TARGET_LABELS = {"le", "instance", "service_name", "job"}
"""Labels of the scrape and of buckets."""

NAME = re.compile(r"\b(?:holdfast|gen_ai|http|messaging)_[a-z0-9_]+")


def rules() -> list[dict[str, Any]]:
    found = msgspec.yaml.decode((FOLDER / "alerts.yaml").read_bytes(), type=dict[str, Any])
    return [rule for group in found["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]] + [rule["expr"] for rule in rules()]


def labels_of(metric: Metric) -> set[str]:
    return {label.replace(".", "_") for label in metric.labels}


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_uses_series_and_labels_that_exist(expression: str) -> None:
    every_label = {label for metric in metrics.ALL for label in labels_of(metric)}
    words = set(NAME.findall(expression))
    series = {word for word in words if word in SERIES}
    assert series, expression
    assert words - series <= every_label, expression
    grouped = {g.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for g in by.split(",")}
    selected = set(re.findall(r"(\w+)(?:!?=)\"", expression))
    known = {label for name in series for label in labels_of(SERIES[name])} | TARGET_LABELS
    assert grouped | selected <= known, expression
    assert expression.count("(") == expression.count(")")


def test_every_rule_says_what_happened_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "runbook"}, rule["alert"]
        assert all(text.endswith(".") for text in rule["annotations"].values()), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_the_dashboard_leaves_out_no_metric() -> None:
    shown = {SERIES[word] for expression in expressions() for word in NAME.findall(expression) if word in SERIES}
    assert [metric.name for metric in metrics.ALL if metric not in shown] == []
