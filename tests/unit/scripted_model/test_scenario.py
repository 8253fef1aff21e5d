"""Scenario files, and that the step is a function of the request alone."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.demo.backend import SCENARIO
from holdfast.cli.demo.repository import TASK
from holdfast.scripted_model.scenario import BadScenario, Scenario, Script, Step
from holdfast.scripted_model.scenario_files import load

SCENARIOS = Path(SCENARIO).parent


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": t} for t in texts]}


def assistant(text: str = "ok") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def script(*steps: Step, match: str | None = "go") -> Script:
    return Script({"s": Scenario(steps=list(steps), match=match)})


def said(steps: Script, messages: list[dict[str, Any]]) -> str | None:
    step = steps.step(messages, steps.place(messages))
    return next((b["text"] for b in step.content or step.blocks() if b["type"] == "text"), None)


@pytest.mark.parametrize("file", sorted(SCENARIOS.iterdir()), ids=lambda p: p.name)
def test_the_files_of_the_product_can_be_read(file: Path) -> None:
    assert load(file)


def test_the_demo_plays_its_task() -> None:
    place = Script(load(SCENARIO)).place([user(TASK)])
    assert place is not None
    assert (place.name, place.step) == ("demo", 0)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("scenarios: {a: {steps: [{txt: x}]}}")
    with pytest.raises(BadScenario, match=r"bad.yaml.*txt"):
        load(file)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4))
def test_groups_repeat_as_often_as_they_say(groups: list[tuple[int, int]]) -> None:
    steps = [
        Step(repeat=times, steps=[Step(text=f"{g}.{n}") for n in range(size)]) for g, (times, size) in enumerate(groups)
    ]
    expected = [f"{g}.{n}" for g, (times, size) in enumerate(groups) for _ in range(times) for n in range(size)]
    played = script(*steps)
    heard = [said(played, [user("go"), *[assistant(), user("on")] * n]) for n in range(len(expected) + 1)]
    assert heard == [*expected, "Done."]


def test_the_last_text_that_matches_counts() -> None:
    both = Script(
        {"a": Scenario(steps=[Step(text="A")], match="alpha"), "b": Scenario(steps=[Step(text="B")], match="beta")}
    )
    assert said(both, [user("alpha"), assistant(), user("beta")]) == "B"
    assert said(both, [user("beta", "alpha")]) == "A"
    assert said(both, [user("alpha and [play:b]")]) == "B"
    assert said(both, [user("gamma")]) == "Nothing in the scenario file matches this conversation."


def test_a_mark_says_where_to_go_on() -> None:
    assert said(script(Step(text="1"), Step(text="2")), [user("[play:s@1]")]) == "2"


def test_what_nobody_said_is_told_in_place_of_a_template() -> None:
    steps = script(Step(text="{{result:(x+)}} {{user:o$}} {{step}}"))
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "axxb"}]}
    assert said(steps, [user("go")]) == "(no match of (x+)) o 0"
    again = [user("go"), user("go"), result]
    assert said(steps, again) == "xx o 0"
