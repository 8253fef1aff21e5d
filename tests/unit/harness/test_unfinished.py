"""A response that is cut off or pauses does not finish a turn: the model is asked again, a bounded number of times."""

import pytest

from holdfast.bus import events as ev
from holdfast.bus.head import Head
from holdfast.harness.models.interface import Response
from holdfast.harness.models.to_events import INPUT_LIMIT_VALUES, INPUT_TRUNCATED, refusal_details
from holdfast.harness.turn import decide
from holdfast.harness.turn.decide import Limits
from tests.unit.harness.heads import after, client, decided, said, taken
from tests.unit.harness.responses import response_events

TRUNCATED = ["max_tokens", "model_context_window_exceeded"]
LIMITS = Limits(unfinished=3, response_tokens=500)


def asked() -> Head:
    return taken(after(), client(said()))[1]


def answered(head: Head, stop: str, *blocks: ev.Block) -> Head:
    """The head after a response with these blocks."""
    head = after(ev.ModelRequestStart(id="r"), head=head)
    return after(*response_events(Response(list(blocks), stop, ev.ModelUsage(10, 5))), head=head)


TEXT: ev.Block = {"type": "text", "text": "half a sen"}
CALL: ev.Block = {"type": "tool_use", "id": "a", "name": "bash", "input": {"command": "ls"}}
CUT_CALL: ev.Block = {"type": "tool_use", "id": "b", "name": "bash", "input": None}


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence", "something_new"])
def test_a_finished_response_ends_the_turn(stop: str) -> None:
    assert decided(answered(asked(), stop, TEXT)) == decide.Release(ev.StopReason("end_turn"))


@pytest.mark.parametrize("blocks", [[], [TEXT]])
@pytest.mark.parametrize("stop", ["max_tokens", "pause_turn", "tool_use"])
def test_a_response_that_was_cut_off_or_pauses_is_continued(stop: str, blocks: list[ev.Block]) -> None:
    assert decided(answered(asked(), stop, *blocks)) == decide.CallModel()


def test_a_response_that_fills_the_context_window_is_followed_by_a_compaction() -> None:
    head = answered(asked(), "model_context_window_exceeded", TEXT)
    assert decided(head) == decide.Compact()
    head = after(ev.AgentContextCompacted(id="k", summary="s"), head=head)
    assert decided(head) == decide.CallModel()


def test_compactions_that_do_not_help_end_the_turn() -> None:
    head = asked()
    for _ in range(3):
        head = answered(head, "model_context_window_exceeded")
        assert decided(head) == decide.Compact()
        head = after(ev.AgentContextCompacted(id="k", summary="s"), head=head)
    step = decided(answered(head, "model_context_window_exceeded"))
    assert isinstance(step, decide.Release)
    assert step.error
    assert step.error["type"] == "compaction_limit_reached_error"


@pytest.mark.parametrize("stop", TRUNCATED)
def test_a_truncated_call_is_answered_with_an_error_and_never_ready(stop: str) -> None:
    events = response_events(Response([CUT_CALL], stop, ev.ModelUsage()))
    head = asked()
    for event in events:
        head = after(event, head=head)
        assert not [c for c in head.calls if c.state == "ready"]
    assert (head.calls, head.primary.unfinished, head.primary.truncated_call) == ((), 1, True)
    error = events[-1]
    assert isinstance(error, ev.AgentToolResult)
    assert error.content == [{"type": "text", "text": INPUT_TRUNCATED}]
    assert decided(head, limits=Limits(context_tokens=10_000)) == (
        decide.Compact() if stop == TRUNCATED[1] else decide.CallModel()
    )


def test_the_complete_calls_of_a_truncated_response_run() -> None:
    head = answered(asked(), "max_tokens", TEXT, CALL, CUT_CALL)
    assert [(c.state, c.name) for c in head.calls] == [("ready", "bash")]
    assert decided(head) == decide.RunTools()
    assert head.primary.unfinished == 0


def test_calls_that_are_cut_off_again_and_again_end_the_turn_with_the_error_of_the_wire() -> None:
    head = asked()
    for _ in range(3):
        assert decided(head, limits=LIMITS) == decide.CallModel()
        head = answered(head, "max_tokens", TEXT, CUT_CALL)
    step = decided(head, limits=LIMITS)
    assert isinstance(step, decide.Release)
    assert step.stop == ev.StopReason("retries_exhausted")
    assert step.error
    assert step.error["type"] == "tool_use_limit_reached_error"
    assert "500 tokens" in step.error["message"]


@pytest.mark.parametrize("stop", ["max_tokens", "pause_turn", "tool_use"])
def test_responses_that_come_to_no_end_end_the_turn_with_an_error(stop: str) -> None:
    head = asked()
    for _ in range(3):
        assert decided(head, limits=LIMITS) == decide.CallModel()
        head = answered(head, stop, TEXT)
    step = decided(head, limits=LIMITS)
    assert isinstance(step, decide.Release)
    assert step.error
    assert step.error["type"] == "model_request_failed_error"
    idle = ev.ThreadStatusIdle(id="i", agent_name="", session_thread_id="", stop_reason=ev.StopReason("end_turn"))
    assert after(idle, head=head).primary.unfinished == 0


def test_a_finished_response_or_a_call_that_runs_begins_the_count_anew() -> None:
    head = answered(answered(asked(), "max_tokens", TEXT), "max_tokens", CALL)
    assert head.primary.unfinished == 0
    head = answered(answered(asked(), "max_tokens", TEXT), "end_turn", TEXT)
    assert head.primary.unfinished == 0


def test_an_interrupted_response_is_not_continued() -> None:
    head = after(ev.ModelRequestStart(id="r"), head=asked())
    _, head = taken(head, client(ev.UserInterrupt(id="i"), name="in2"))
    end = ev.ModelRequestEnd(id="e", model_request_start_id="r", model_usage=ev.ModelUsage(), stop="max_tokens")
    assert not after(end, head=head).primary.todo


def test_an_input_of_very_many_values_does_not_run() -> None:
    block: ev.Block = {**CALL, "input": {"command": [[]] * INPUT_LIMIT_VALUES}}
    call, _, error = response_events(Response([block], "tool_use", ev.ModelUsage()))
    assert isinstance(call, ev.AgentToolUse)
    assert (call.input, call.evaluated_permission) == ({}, "deny")
    assert "values" in str(error)
    whole: ev.Block = {**CALL, "input": {"command": ["x"] * (INPUT_LIMIT_VALUES - 2)}}
    assert len(response_events(Response([whole], "tool_use", ev.ModelUsage()))) == 2


def test_the_details_of_a_refusal_are_texts_of_a_bounded_length() -> None:
    details = {"category": ["x"], "explanation": "e" * 1_000_000, "more": "x"}
    told = refusal_details(Response([], "refusal", ev.ModelUsage(), details))
    assert told == {"type": "refusal", "category": None, "explanation": "e" * 2000}
    assert refusal_details(Response([], "refusal", ev.ModelUsage())) == {
        "type": "refusal", "category": None, "explanation": None
    }  # fmt: skip
