"""Which tasks a binding wants."""

from typing import Any

import pytest

from holdfast.session.tasks.conditions import MAX_CONDITIONS, check_when, matches
from holdfast.session.tasks.event import TaskEvent

EVENT = TaskEvent(data={"action": "opened", "n": 1, "draft": False, "gone": None}, attributes={"event": "issues"})


@pytest.mark.parametrize(
    ("when", "wanted"),
    [
        ({}, True),
        ({"action": ["opened"]}, True),
        ({"action": ["closed", "opened"], "@event": ["issues"]}, True),
        ({"action": ["closed"]}, False),
        ({"action": ["opened"], "@event": ["push"]}, False),
        ({"n": [1]}, True),
        ({"n": [True]}, False),
        ({"n": ["1"]}, False),
        ({"draft": [False]}, True),
        ({"draft": [0]}, False),
        ({"gone": [None]}, True),
        ({"missing": [None]}, False),
        ({"@missing": [None, ""]}, False),
    ],
)
def test_every_path_must_have_one_of_its_values(when: dict[str, list[Any]], wanted: bool) -> None:
    check_when(when)
    assert matches(when, EVENT) is wanted


def test_what_is_no_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="is no path"):
        check_when({"a b": ["x"]})
    with pytest.raises(ValueError, match=f"at most {MAX_CONDITIONS}"):
        check_when({f"a{n}": ["x"] for n in range(MAX_CONDITIONS + 1)})
