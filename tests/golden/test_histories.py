"""The sessions of every release, read by this version: each gives what it gave to the release that wrote it.

`python -m tests.golden.record` makes the histories of a release. They are never changed afterwards; a failure here says
that sessions of that release would go on differently, or be shown differently, after an upgrade.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.bus.head import Head
from holdfast.scripted_model.validate import check
from tests.golden.history import History, differences, full, without_long_texts
from tests.golden.scenarios import SCENARIOS

HISTORIES = Path(__file__).parent / "histories"
FOLDERS = sorted(path.parent for path in HISTORIES.glob("*/*/about.json"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_scenario_was_recorded() -> None:
    assert {folder.name for folder in FOLDERS} == set(SCENARIOS), "run `python -m tests.golden.record --only …`"


def test_the_readings_are_those_of_the_release(folder: Path) -> None:
    expected: Any = msgspec.json.decode((folder / "expected.json").read_bytes())
    actual: Any = msgspec.json.decode(msgspec.json.encode(History.load(folder).readings()))
    assert differences(expected, actual) == []


def test_every_head_is_the_fold_of_the_events(folder: Path) -> None:
    history = History.load(folder)
    for stored, folded in zip(history.stored, history.folded_heads(), strict=True):
        assert full(folded) == full(stored.commit.head), f"commit {stored.seq}"


def test_the_model_would_take_every_request(folder: Path) -> None:
    requests, messages = History.load(folder).requests()
    for shown in (*(shown for _, shown in requests), messages):
        if shown:
            check({"model": "m", "max_tokens": 1, "messages": shown})


def test_a_difference_is_found() -> None:
    head: Any = full(Head(count=2, recent=("a",)))
    assert differences(head, head) == []
    assert differences(head, {**head, "new": 1}) == []
    assert differences(head, {**head, "count": 3}) == [".count: 2 expected, not 3"]
    assert differences(head, {**head, "recent": []}) == [".recent: 1 elements expected, not 0"]
    assert differences(head, {k: v for k, v in head.items() if k != "calls"}) == [".calls: missing"]
    assert differences([{"a": 1}], [{"a": 2}]) == ["[0].a: 1 expected, not 2"]
    assert without_long_texts(["x" * 501])[0].endswith("of 501 characters")
