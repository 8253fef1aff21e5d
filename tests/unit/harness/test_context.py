"""The context: whatever the log holds, the request made from it is one the Messages API accepts."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.head import PRIMARY_THREAD
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.cache_marks import with_cache_marks
from holdfast.harness.conversation.context import ATTACHMENTS_REJECTED, UNANSWERED_LIMIT_CHARS, Context, Contexts
from holdfast.harness.conversation.rendering import NO_RESULT
from holdfast.harness.conversation.truncate import truncate_messages
from holdfast.harness.models.interface import Response
from holdfast.harness.models.sanitize import result_blocks, sanitize
from holdfast.harness.tools.offered_tools import WITHDRAWN, withdrawn
from holdfast.scripted_model.blocks import sign
from holdfast.scripted_model.validate import Refused, check
from tests.unit.harness.responses import response_events

texts = st.text(max_size=20) | st.sampled_from(["", " ", "\n", "a\0b", "\ud800x", "plain"])
blocks = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, texts),
    st.builds(lambda t: {"type": "thinking", "thinking": sanitize(t), "signature": sign(sanitize(t))}, texts),
    st.builds(
        lambda i, n, v: {"type": "tool_use", "id": f"toolu_{i}", "name": n, "input": v},
        st.integers(0, 3),
        st.sampled_from(["bash", "read", "ask_client", "nonsense", "web_search", "", "a b/é\0"]),
        st.one_of(st.none(), st.dictionaries(texts, texts, max_size=2), st.just([1]), st.just("x")),
    ),
)
answers = st.builds(
    lambda b, s: Response(b, s, ev.ModelUsage(1, 1)),
    st.lists(blocks, max_size=4),
    st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal"]),
)
results = st.lists(st.builds(lambda t: {"type": "text", "text": t}, texts), max_size=2)
said = st.lists(st.builds(lambda t: {"type": "text", "text": t}, texts), min_size=1, max_size=2)
steps = st.lists(
    st.one_of(
        answers,
        st.tuples(st.just("user"), said),
        st.tuples(st.just("result"), results, st.booleans()),
        st.tuples(st.just("compact"), st.text(min_size=1, max_size=5)),
        st.just(("interrupt",)),
    ),
    max_size=25,
)


def log_of(plan: list[Any]) -> list[ev.Event]:
    """Events as the harness writes them, in an order that no healthy session would have."""
    number = itertools.count()
    events: list[ev.Event] = [ev.UserMessage(id="u", content=[{"type": "text", "text": "begin"}])]
    calls: list[ev.Event] = []
    for step in plan:
        if isinstance(step, Response):
            made = response_events(step, request=f"r{next(number)}")
            calls += [e for e in made if isinstance(e, ev.AgentToolUse | ev.AgentCustomToolUse)]
            events += made
        elif step[0] == "user":
            events.append(ev.UserMessage(id=f"u{next(number)}", content=sanitize(step[1])))
        elif step[0] == "result" and calls:
            call = calls.pop()
            kind = ev.AgentToolResult if isinstance(call, ev.AgentToolUse) else None
            name = f"t{next(number)}"
            if kind:
                events.append(kind(id=name, tool_use_id=call.id, content=result_blocks(step[1]), is_error=step[2]))
            else:
                events.append(ev.UserCustomToolResult(id=name, custom_tool_use_id=call.id, content=sanitize(step[1])))
        elif step[0] == "compact":
            events.append(ev.AgentContextCompacted(id=f"c{next(number)}", summary=sanitize(step[1])))
        else:
            events.append(ev.UserInterrupt(id=f"i{next(number)}"))
    return events


def body(messages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"model": "scripted", "max_tokens": 10, "messages": messages, "thinking": {"type": "adaptive"}}


@given(steps)
@settings(max_examples=400, deadline=None)
def test_any_log_replays_as_a_valid_request(plan: list[Any]) -> None:
    context = Context(items=[])
    for event in log_of(plan):
        context.add(event)
        try:
            check(body(with_cache_marks(context.messages())))
        except Refused as exc:
            pytest.fail(f"{exc}: {context.messages()}")


@given(steps, st.integers(0, 24))
@settings(max_examples=100, deadline=None)
def test_a_snapshot_goes_on_where_the_log_was_cut(plan: list[Any], cut: int) -> None:
    log: list[Stored] = []
    for event in log_of(plan):
        last = log[-1] if log else None
        log.append(Stored(len(log) + 1, commit(last, [event], by="test", new_id=new_id, now=0)))
    whole, first = Contexts(), Contexts()
    for stored in log:
        whole.fold(stored)
    for stored in log[:cut]:
        first.fold(stored)
    second = Contexts.restore(first.snapshot())
    for stored in log:  # what the snapshot holds already is passed over
        second.fold(stored)
    assert second.thread(PRIMARY_THREAD).messages() == whole.thread(PRIMARY_THREAD).messages()
    assert (second.seq, second.count) == (whole.seq, whole.count)


def test_a_message_sent_while_a_call_was_open_follows_its_result() -> None:
    call = ev.AgentToolUse(id="c1", request="r", name="bash", input={"command": "ls"})
    late = ev.UserMessage(id="u2", content=[{"type": "text", "text": "also this"}])
    done = ev.AgentToolResult(id="t", tool_use_id="c1", content=[{"type": "text", "text": "out"}])
    context = Context(items=[])
    for event in (ev.UserMessage(id="u1", content=[{"type": "text", "text": "go"}]), call, late, done):
        context.add(event)
    last = context.messages()[-1]["content"]
    assert [b["type"] for b in last] == ["tool_result", "text"]


def test_a_call_without_a_result_is_answered_for_the_model() -> None:
    context = Context(items=[])
    context.add(ev.UserMessage(id="u1", content=[{"type": "text", "text": "go"}]))
    context.add(ev.AgentToolUse(id="c1", request="r", name="bash", input={}))
    result = context.messages()[-1]["content"][0]
    assert (result["tool_use_id"], result["content"], result["is_error"]) == ("c1", NO_RESULT, True)


def test_compaction_keeps_what_was_not_answered_yet() -> None:
    context = Context(items=[])
    for event in (
        ev.UserMessage(id="u1", content=[{"type": "text", "text": "first"}]),
        ev.AgentMessage(id="m1", request="r", content=[{"type": "text", "text": "answer"}]),
        ev.UserMessage(id="u2", content=[{"type": "text", "text": "second"}]),
        ev.AgentContextCompacted(id="k", summary="SUMMARY"),
    ):
        context.add(event)
    (message,) = context.messages()
    shown = [b["text"] for b in message["content"]]
    assert shown[0].endswith("SUMMARY")
    assert shown[1:] == ["second"]


@given(steps)
@settings(max_examples=150, deadline=None)
def test_what_was_rendered_once_is_what_rendering_anew_gives(plan: list[Any]) -> None:
    context = Context(items=[])
    for event in log_of(plan):
        context.add(event)
        assert context.messages() == Context(items=list(context.items)).messages()


PNG: dict[str, Any] = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "bm8gcGljdHVyZQ=="},
}


def rejected(request: str) -> ev.Event:
    return ev.ModelRequestEnd(
        id="e", model_request_start_id=request, model_usage=ev.ModelUsage(), is_error=True, stop=ATTACHMENTS_REJECTED
    )


def test_what_the_model_refuses_to_look_at_is_left_out_newest_first() -> None:
    context = Context(items=[])
    context.add(ev.UserMessage(id="u1", content=[{"type": "text", "text": "look"}, PNG]))
    context.add(ev.AgentMessage(id="m", request="r1", content=[{"type": "text", "text": "nice"}]))
    context.add(ev.AgentToolUse(id="toolu_1", request="r1", name="read", input={}))
    context.add(ev.AgentToolResult(id="t", tool_use_id="toolu_1", content=[PNG]))
    context.messages()
    context.add(rejected("r2"))
    first, _, last = context.messages()
    assert [b["type"] for b in first["content"]] == ["text", "image"]
    assert [b["type"] for b in last["content"][0]["content"]] == ["text"]
    assert context.has_attachments
    context.add(rejected("r3"))
    assert not context.has_attachments
    check(body(context.messages()))


def test_messages_that_fit_no_context_do_not_survive_a_compaction_whole() -> None:
    context = Context(items=[])
    context.add(ev.UserMessage(id="u1", content=[{"type": "text", "text": "y" * 1_000_000}]))
    context.add(ev.UserMessage(id="u2", content=[{"type": "text", "text": "short"}]))
    context.add(ev.AgentContextCompacted(id="c", summary="so far"))
    said = [b["text"] for b in context.messages()[0]["content"]]
    assert said[0].endswith("so far")
    assert len(said[1]) < UNANSWERED_LIMIT_CHARS
    assert said[2] == "short"


def test_a_message_that_was_given_up_does_not_stand_in_the_way_of_the_next() -> None:
    context = Context(items=[])
    context.add(ev.UserMessage(id="u1", content=[{"type": "text", "text": "too much"}]))
    stop = ev.StopReason("retries_exhausted")
    context.add(ev.ThreadStatusIdle(id="i", agent_name="a", session_thread_id="sthr_1", stop_reason=stop))
    context.add(ev.UserMessage(id="u2", content=[{"type": "text", "text": "go on"}]))
    context.add(ev.AgentContextCompacted(id="c", summary="so far"))
    assert [b["text"] for b in context.messages()[0]["content"]][1:] == ["go on"]


@given(steps, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_truncated_conversation_is_as_valid(plan: list[Any], fraction: float) -> None:
    context = Context(items=[])
    for event in log_of(plan):
        context.add(event)
    if messages := context.messages():
        check(body(truncate_messages(messages, fraction)))


def test_the_inputs_and_the_tools_of_calls_are_known_until_they_are_summarised_away() -> None:
    context = Context(items=[])
    context.add(ev.AgentToolUse(id="c1", request="r", name="bash", input={"command": "ls"}))
    context.add(ev.AgentCustomToolUse(id="c2", request="r", name="ask_client", input={}))
    restored = msgspec.json.decode(msgspec.json.encode(context), type=Context)
    for known in (context, restored):
        assert known.tool_input("c1") == {"command": "ls"}
        assert known.tool_input("c2") == {}
        assert known.tool_input("c3") is None
        assert list(known.tool_names) == ["bash", "ask_client"]
        known.add(ev.AgentContextCompacted(id="k", summary="s"))
        assert (list(known.tool_names), known.tool_input("c1")) == ([], None)


def test_tools_that_the_history_uses_are_declared_when_they_are_withdrawn() -> None:
    assert withdrawn([{"name": "read"}], ["bash", "read"]) == [
        {"name": "bash", "description": WITHDRAWN, "input_schema": {"type": "object"}}
    ]


@given(steps, st.lists(said, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_context_after_inputs_is_what_folding_them_gives(plan: list[Any], texts: list[Any]) -> None:
    context = Context(items=[])
    for event in log_of(plan):
        context.add(event)
    before = context.messages()
    inputs = [ev.UserMessage(id=f"in{n}", content=content) for n, content in enumerate(texts)]
    result = ev.AgentToolResult(id="late", tool_use_id="toolu_0", content=[{"type": "text", "text": "late"}])
    after = context.after([result, *inputs], PRIMARY_THREAD)
    assert context.messages() == before, "the context itself has not changed"
    ahead, fresh = after.messages(), after.fresh
    for event in [result, *inputs]:
        context.add(event)
    assert context.messages() == ahead
    assert (len(context.items), context.fresh) == (len(after.items), fresh)
