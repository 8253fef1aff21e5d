"""Every alert rule fires when it should, and stops, by `promtool` of Prometheus. Skipped where there is none.

Series are in the notation of promtool: `0x5 0+2x20` is 0 for six minutes, then 2 more each minute.
"""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest

RULES = Path(__file__).parents[2] / "deploy" / "grafana" / "alerts.yaml"

ASKED = "gen_ai_client_operation_duration_seconds_count"
FIRST_TOKEN = "holdfast_client_time_to_first_token_seconds_bucket"
ROUND_TRIP = "holdfast_bus_round_trip_duration_seconds_bucket"

pytestmark = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (Debian: prometheus)")


class Case(NamedTuple):
    """`silent`: minutes at which nothing fires. `fires`: minutes at which it does, with these labels."""

    series: dict[str, str]
    silent: list[int]
    fires: list[int]
    labels: Mapping[str, str] = MappingProxyType({})


CASES = {
    "HoldfastFaultOfOurs": Case(
        {'holdfast_failures_bugs_total{service_name="harness",holdfast_where="turn",instance="a"}': "0x5 1x40",
         'holdfast_failures_bugs_total{service_name="vault",holdfast_where="turn",instance="b"}': "0x50"},
        [5, 20], [7, 12], {"service_name": "harness"},
    ),
    "HoldfastInputsParked": Case({"holdfast_inputs_parked": "0x5 2x5 0x20"}, [4, 14], [7]),
    "HoldfastTakeovers": Case(
        # A replica that is new is counted from 0, as all counters of failures are.
        {'holdfast_claim_takeovers_total{instance="a"}': "0x5 0+1x20 20x30",
         'holdfast_claim_takeovers_total{instance="b"}': "0x5 0+1x20 20x30"},
        [5, 10, 45], [20, 26],
    ),
    "HoldfastMessagesLost": Case(
        {'holdfast_failures_lost_messages_total{holdfast_where="append"}': "0x5 0+5x20 100x30",
         'holdfast_failures_lost_messages_total{holdfast_where="put"}': "0+1x60"},
        [5, 10, 45], [20, 26], {"holdfast_where": "append"},
    ),
    "HoldfastSandboxesLost": Case(
        {'holdfast_failures_lost_sandboxes_total{holdfast_where="sandbox"}': "0x5 0+2x20 40x30"}, [5, 10, 45], [20, 26]
    ),
    "HoldfastInputsWait": Case(
        {'holdfast_inbox_oldest_age_seconds{holdfast_cell="a0",instance="a"}': "0x5 60+60x10 0x20",
         'holdfast_inbox_oldest_age_seconds{holdfast_cell="a0",instance="b"}': "0x60"},
        [5, 7, 20], [9, 15], {"holdfast_cell": "a0"},
    ),
    "HoldfastInputsRedelivered": Case(
        {'holdfast_inbox_depth{holdfast_cell="a0",holdfast_state="redelivered"}': "0x5 1x60 0x20",
         'holdfast_inbox_depth{holdfast_cell="a1",holdfast_state="waiting"}': "7x90"},
        [5, 30, 70], [40, 60], {"holdfast_cell": "a0"},
    ),
    "HoldfastModelFails": Case(
        {ASKED: "0+8x60", f'{ASKED}{{error_type="overloaded_error"}}': "0x5 0+6x20 120x40",
         f'{ASKED}{{error_type="cancelled"}}': "0+9x60"},
        [5, 8, 45], [16, 24],
    ),
    "HoldfastFirstTokenSlow": Case(
        {FIRST_TOKEN + '{le="5.12"}': "0+10x15 150x60", FIRST_TOKEN + '{le="20.48"}': "0+10x60",
         FIRST_TOKEN + '{le="+Inf"}': "0+10x60"},
        [12, 20], [40, 50],
    ),
    "HoldfastBusSlow": Case(
        {ROUND_TRIP + '{le="0.5"}': "0+100x10 1000+90x30 3700+100x40", ROUND_TRIP + '{le="2.5"}': "0+100x90",
         ROUND_TRIP + '{le="+Inf"}': "0+100x90"},
        [8, 60], [25, 38],
    ),
    "HoldfastEventLoopLate": Case(
        {'holdfast_event_loop_lag_seconds{service_name="session",instance="a"}': "0x5 3x10 0x10",
         'holdfast_event_loop_lag_seconds{service_name="session",instance="b"}': "0.9x40"},
        [5, 7, 20], [9, 14], {"service_name": "session", "instance": "a"},
    ),
    "HoldfastListsBehind": Case(
        {'holdfast_log_lag{holdfast_cell="a0"}': "0x5 5000x20 0x20"}, [5, 9, 30], [12, 24], {"holdfast_cell": "a0"}
    ),
}  # fmt: skip


def rules() -> dict[str, dict[str, Any]]:
    found = msgspec.yaml.decode(RULES.read_bytes(), type=dict[str, Any])
    return {rule["alert"]: rule for group in found["groups"] for rule in group["rules"]}


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_reads_the_rules() -> None:
    assert f"SUCCESS: {len(rules())} rules found" in promtool("check", "rules", str(RULES))


def test_every_alert_fires_when_it_should_and_stops(tmp_path: Path) -> None:
    assert CASES.keys() == rules().keys()
    tests: list[dict[str, Any]] = []
    for name, case in CASES.items():
        rule = rules()[name]
        firing = {"exp_labels": {**rule["labels"], **case.labels}, "exp_annotations": rule["annotations"]}
        expected = {minute: [firing] if minute in case.fires else [] for minute in (*case.silent, *case.fires)}
        tests.append({
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": name, "exp_alerts": alerts}
                for minute, alerts in sorted(expected.items())
            ],
        })  # fmt: skip
    file = tmp_path / "alerts_test.yaml"
    file.write_bytes(msgspec.yaml.encode({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(file))
