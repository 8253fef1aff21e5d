"""Which output of running tool calls a connection is sent."""

from random import Random

import pytest

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.head import Call, Head
from holdfast.session.events.tool_output import TOOL_RESULT_TYPE, OutputFilter


def use(call: str) -> ev.AgentToolUse:
    return ev.AgentToolUse(id=call, name="bash", input={})


def result(call: str) -> ev.AgentToolResult:
    return ev.AgentToolResult(id="r" + call, tool_use_id=call)


def begins(call: str) -> Delta:
    return Delta(call, TOOL_RESULT_TYPE, start=True)


def piece(call: str, text: str, at: int) -> Delta:
    return Delta(call, TOOL_RESULT_TYPE, 0, text, at=at)


def test_output_is_shown_between_the_use_and_the_result_of_its_call() -> None:
    outputs = OutputFilter()
    outputs.begin(Head())
    assert outputs.select([Output("a", "early")]) == []
    outputs.observe(use("a"))
    assert outputs.select([Output("a", ""), Output("a", "")]) == []
    assert outputs.select([Output("a", "one\n")]) == [begins("a"), piece("a", "one\n", 0)]
    assert outputs.select([Output("a", "two\n", at=4)]) == [piece("a", "two\n", 4)]
    outputs.observe(result("a"))
    assert outputs.select([Output("a", "late", at=8), Output("a", "late")]) == []


def test_a_call_that_has_printed_nothing_yet_is_shown_to_who_comes_later() -> None:
    outputs = OutputFilter()
    outputs.begin(Head(calls=(Call("a", "bash", "ready"), Call("b", "bash", "ready"), Call("c", "mine", "client"))))
    assert outputs.select([Output("a", "x")]) == [begins("a"), piece("a", "x", 0)]
    assert outputs.select([Output("b", "x", at=5), Output("b", "x")]) == [], "it had printed before"
    assert outputs.select([Output("c", "x")]) == [], "no sandbox runs the calls of the client"


def test_a_hole_ends_it() -> None:
    outputs = OutputFilter()
    outputs.begin(Head())
    outputs.observe(use("a"))
    outputs.observe(use("b"))
    outputs.select([Output("a", "12")])
    assert outputs.select([Output("a", "x", at=3), Output("a", "x", at=2)]) == []
    assert outputs.select([Output("b", "x")]) == [begins("b"), piece("b", "x", 0)]


def test_what_was_shown_in_part_is_not_continued_after_a_loss() -> None:
    outputs = OutputFilter()
    outputs.begin(Head())
    outputs.observe(use("a"))
    outputs.observe(use("b"))
    outputs.select([Output("a", "12")])
    outputs.drop()
    assert outputs.select([Output("a", "x", at=2)]) == []
    assert outputs.select([Output("b", "x")]) == [begins("b"), piece("b", "x", 0)]
    outputs.begin(Head(calls=(Call("b", "bash", "ready"),)))
    assert outputs.select([Output("b", "y", at=1)]) == []


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_lost_only_prefixes_are_shown(seed: int) -> None:
    random = Random(seed)
    outputs = OutputFilter()
    outputs.begin(Head())
    calls = ["a", "b", "c"]
    for call in calls:
        outputs.observe(use(call))
    said = dict.fromkeys(calls, "")
    shown = dict.fromkeys(calls, "")
    for _ in range(60):
        call = random.choice(calls)
        text = random.choice(["x", "yy", "zzz"])
        output = Output(call, text, at=len(said[call]))
        said[call] += text
        if random.random() < 0.02:
            outputs.drop()
        elif random.random() > 0.05:
            for delta in outputs.select([output]):
                shown[call] += delta.text
    assert all(said[call].startswith(shown[call]) for call in calls)
    assert any(shown.values())
