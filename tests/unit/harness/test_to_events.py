"""A response becomes events that can be replayed, whatever the model sent."""

from typing import Any

import pytest

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.harness.models.interface import Response
from holdfast.harness.models.to_events import ResponseEvents
from tests.unit.harness.responses import AGENT, response_events


def test_a_cut_or_unknown_call_is_logged_with_its_error() -> None:
    answer = Response(
        [
            {"type": "tool_use", "id": "a", "name": "bash", "input": None},
            {"type": "tool_use", "id": "b", "name": "rm_rf", "input": {}},
            {"type": "tool_use", "id": "c", "name": "bash", "input": {"command": "ls\0"}},
        ],
        "tool_use",
        ev.ModelUsage(),
    )
    events = response_events(answer)
    uses = [e for e in events if isinstance(e, ev.AgentToolUse)]
    errors = {e.tool_use_id for e in events if isinstance(e, ev.AgentToolResult)}
    assert [u.evaluated_permission for u in uses] == ["deny", "deny", "allow"]
    assert errors == {uses[0].id, uses[1].id}
    assert uses[2].input == {"command": "ls"}


def test_a_refusal_keeps_no_tool_call() -> None:
    answer = Response([{"type": "tool_use", "id": "a", "name": "bash", "input": {}}], "refusal", ev.ModelUsage())
    kinds = [ev.type_of(e) for e in response_events(answer)]
    assert kinds == ["span.model_request_end"]


@pytest.mark.parametrize("depth", [101, 600, 970])
def test_a_call_that_nothing_could_read_again_is_logged_with_its_error(depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = [deep]
    block: Any = {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": deep}}
    call, _, error = response_events(Response([block], "tool_use", ev.ModelUsage()))
    assert isinstance(call, ev.AgentToolUse)
    assert call.input == {}
    assert isinstance(error, ev.AgentToolResult)
    assert error.content
    assert "levels deep" in error.content[0]["text"]


def test_an_interrupted_response_keeps_the_text_that_was_shown() -> None:
    made = ResponseEvents(request="r", ids={0: "sevt_0", 2: "sevt_2"}, thread="", new_id=new_id)
    message, end = made.interrupted({2: "shown\0", 0: "  "}, ev.ModelUsage(7, 3))
    assert isinstance(message, ev.AgentMessage)
    assert (message.id, message.request, message.content) == ("sevt_2", "r", [{"type": "text", "text": "shown"}])
    assert isinstance(end, ev.ModelRequestEnd)
    assert (end.stop, end.model_usage.input_tokens, end.is_error) == ("interrupted", 7, None)


def test_the_events_of_a_child_thread_name_it() -> None:
    blocks = [
        {"type": "text", "text": "hello"},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "a", "name": "bash", "input": {}},
        {"type": "tool_use", "id": "b", "name": "ask_client", "input": {}},
        {"type": "tool_use", "id": "c", "name": "nonsense", "input": {}},
    ]
    made = ResponseEvents(request="r", ids={}, thread="child", new_id=new_id)
    events = made.response(Response(blocks, "tool_use", ev.ModelUsage()), AGENT)
    assert len(events) == 7
    assert {e.thread for e in events} == {"child"}
