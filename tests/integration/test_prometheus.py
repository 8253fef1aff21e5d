"""A real Prometheus scrapes `holdfast up`: every target, every alert rule, and every panel of the dashboard.

Skipped where there is no Prometheus. `test_alerts.py` shows when each rule fires.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conversation import Conversation
from tests.support.model import bash, say
from tests.support.prometheus import Prometheus, prometheus
from tests.support.stack import Stack, stack

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json"

CACHED = {"usage": {"cache_read_input_tokens": 5, "cache_creation_input_tokens": 5}}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    # One harness: of two, each would have one turn, and a rate needs a second value of each series.
    environ = {"OTEL_METRICS_EXPORTER": "prometheus"}
    with stack(tmp_path_factory.mktemp("stack"), environ=environ, harnesses=1) as made:
        yield made


@pytest.fixture(scope="module")
def scraper(running: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), running.run.health.values()) as made:
        yield made


def panels() -> list[tuple[str, str]]:
    """Title and query of each line of the dashboard, as Grafana sends it for a rate over a minute."""
    found = json.loads(DASHBOARD.read_text())["panels"]
    queries = [(panel["title"], target["expr"]) for panel in found for target in panel["targets"]]
    return [(title, query.replace("$__rate_interval", "60s")) for title, query in queries]


async def test_every_panel_of_the_dashboard_shows_something(running: Stack, scraper: Prometheus) -> None:
    async with running.client() as client:
        for _ in range(2):
            conversation = await Conversation.begin(client)
            mark = await running.model.play(bash("true", **CACHED), say("Done."))
            async with await client.beta.sessions.events.stream(conversation.id) as events:
                await conversation.say(mark)
                async for event in events:
                    if event.type == "session.status_idle":
                        break
            scraper.until_scraped(len(running.run.health))
    assert [f"{title}: {query}" for title, query in panels() if not scraper.values(query)] == []


def test_every_process_is_scraped_and_every_rule_is_evaluated(running: Stack, scraper: Prometheus) -> None:
    assert {labels["instance"]: value for labels, value in scraper.values("up")} == {
        address.removeprefix("http://"): 1.0 for address in running.run.health.values()
    }
    found = scraper.values("count by (service_name) (holdfast_failures_bugs_total)")
    assert {labels["service_name"] for labels, _ in found} == {"session", "harness", "sandbox", "vault"}
    rules = [rule for group in scraper.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 10
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
