"""The rules of PROTOCOL.md as models: each holds in every schedule, and each model notices when a rule is missing."""

from pathlib import Path

import pytest

from tests.model.__main__ import MODELS, table
from tests.model.scenario import Scenario, describe

SCENARIOS = [scenario for model in MODELS for scenario in model.SCENARIOS]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_the_scenario_gives_its_verdict(scenario: Scenario) -> None:
    result = scenario.run()
    assert scenario.is_expected(result), describe(scenario, result)
    assert bool(result.trace) == (result.verdict != "holds"), "a violation comes with its trace"


def test_the_names_are_unique() -> None:
    big = [scenario for model in MODELS for scenario in model.BIG]
    names = [scenario.name for scenario in (*SCENARIOS, *big)]
    assert len(set(names)) == len(names)


def test_the_readme_has_the_table_of_the_scenarios() -> None:
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    assert "\n".join(table()) in text, "python -m tests.model --table"
