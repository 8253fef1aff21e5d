"""What an owner decides from a head, and what a commit that takes inputs holds."""

from typing import Any

import pytest

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.inputs import AnyInput, CallResult, ClientInput, Nudge, PendingInput
from holdfast.harness.turn import decide as step
from holdfast.harness.turn.decide import Limits, decide
from holdfast.harness.turn.idle import idle
from holdfast.harness.turn.ingest import LOST, ingest, may_wait

CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="t",
    agent={"name": "tester", "model": {"id": "scripted"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)
END = ev.ModelRequestEnd(id="e", model_request_start_id="r", model_usage=ev.ModelUsage(10, 5), stop="tool_use")


def said(text: str = "hi", event_id: str = "u1") -> ev.UserMessage:
    return ev.UserMessage(id=event_id, content=[{"type": "text", "text": text}])


def use(call: str, permission: str = "allow") -> ev.Event:
    return ev.AgentToolUse(id=call, request="r", name="bash", input={}, evaluated_permission=permission)  # pyright: ignore[reportArgumentType]


def client(*events: Any, name: str = "in1") -> AnyInput:
    return ClientInput(id=name, events=list(events))


def waiting(*inputs: AnyInput | None, start: int = 1) -> list[PendingInput]:
    return [PendingInput(start + i, b"", value) for i, value in enumerate(inputs)]


def after(*events: ev.Event, head: Head | None = None) -> Head:
    return advance(head or advance(Head(), [CONFIG], 1), events, 1)


def took(head: Head, *inputs: AnyInput | None) -> tuple[list[str], Head]:
    events = ingest(head, CONFIG, waiting(*inputs)).events
    return [ev.type_of(e) for e in events], advance(head, events, 1)


def decided(head: Head, **kw: Any) -> step.Step:
    return decide(head, **({"now": 10, "fresh_tokens": 0, "limits": Limits()} | kw))


RUNNING = ["session.status_running", "session.thread_status_running"]


def test_a_message_starts_the_session_and_then_the_model() -> None:
    kinds, head = took(after(), client(said()))
    assert kinds == [*RUNNING, "user.message"]
    assert head.status == "running"
    assert decided(head) == step.CallModel()


def test_a_second_message_in_the_same_turn_has_no_status() -> None:
    _, head = took(after(), client(said()))
    kinds, _ = took(head, client(said("more", "u2"), name="in2"))
    assert kinds == ["user.message"]


def test_an_input_taken_before_is_not_taken_again() -> None:
    given = client(said())
    once = ingest(after(), CONFIG, waiting(given, given))
    assert [e.id for e in once.events if isinstance(e, ev.UserMessage)] == ["u1"]
    assert once.seq == 2
    head = after()
    head = Head(**{f: getattr(head, f) for f in head.__struct_fields__} | {"recent": ("in1",)})
    assert ingest(head, CONFIG, waiting(given)).events == []


def test_calls_run_before_the_model_is_asked_again() -> None:
    _, head = took(after(), client(said()))
    head = after(use("c1"), use("c2"), END, head=head)
    assert decided(head) == step.RunTools()
    bound = after(ev.SandboxBound(id="s", generation="g1", worker="w"), head=head)
    assert {c.generation for c in bound.calls} == {"g1"}
    kinds, head = took(bound, CallResult(id="c1", generation="g1", content=[]))
    assert kinds == ["agent.tool_result"]
    assert decided(head) == step.RunTools()
    _, head = took(head, CallResult(id="c2", generation="g1", content=[]))
    assert decided(head) == step.CallModel()


@pytest.mark.parametrize(
    "result",
    [
        CallResult(id="c9", generation="g1", content=[]),
        CallResult(id="c1", generation="g2", content=[]),
        Nudge(id="n"),
        None,
    ],
    ids=["call that is not open", "foreign generation", "nudge", "unreadable"],
)
def test_what_cannot_be_used_only_moves_taken(result: AnyInput | None) -> None:
    head = after(said(), use("c1"), END, ev.SandboxBound(id="s", generation="g1", worker="w"))
    what = ingest(head, CONFIG, waiting(result, start=7))
    assert (what.events, what.seq, what.progress) == ([], 7, False)


def test_a_lost_call_ends_its_generation_and_its_siblings() -> None:
    head = after(said(), use("c1"), use("c2"), END, ev.SandboxBound(id="s", generation="g1", worker="w"))
    what = ingest(head, CONFIG, waiting(CallResult(id="c1", generation="g1", content=[], is_error=True, lost=True)))
    results = [e for e in what.events if isinstance(e, ev.AgentToolResult)]
    assert [r.tool_use_id for r in results] == ["c1", "c2"]
    assert results[1].content == [{"type": "text", "text": LOST}]
    assert advance(head, what.events, 1).sandbox is None


def test_two_asked_calls_wait_until_both_are_answered() -> None:
    _, head = took(after(), client(said()))
    head = after(use("c1", "ask"), use("c2", "ask"), END, head=head)
    rest = decided(head)
    assert rest == step.Release(ev.StopReason("requires_action", ["c1", "c2"]))
    assert isinstance(rest, step.Release)
    head = after(*idle(head, CONFIG, rest.stop, now=5), head=head)  # pyright: ignore[reportArgumentType]
    assert (head.status, decided(head)) == ("idle", step.Release())

    yes = ev.UserToolConfirmation(id="y1", tool_use_id="c1", result="allow")
    kinds, head = took(head, client(yes))
    assert kinds[0] == "user.tool_confirmation"
    assert kinds[-1] == "session.status_idle"
    assert head.primary.stop == ev.StopReason("requires_action", ["c2"])

    no = ev.UserToolConfirmation(id="y2", tool_use_id="c2", result="deny", deny_message="too risky")
    events = ingest(head, CONFIG, waiting(client(no, name="in2"))).events
    assert [ev.type_of(e) for e in events] == ["user.tool_confirmation", *RUNNING, "agent.tool_result"]
    denied = events[-1]
    assert isinstance(denied, ev.AgentToolResult)
    assert "too risky" in str(denied.content)
    head = advance(head, events, 1)
    assert [(c.id, c.state) for c in head.calls] == [("c1", "ready")]
    assert decided(head) == step.RunTools()


def test_a_confirmation_of_an_answered_call_changes_nothing() -> None:
    _, head = took(after(), client(said()))
    yes = ev.UserToolConfirmation(id="y", tool_use_id="nope", result="allow")
    _, new = took(head, client(yes, name="in2"))
    assert (new.calls, new.threads) == (head.calls, head.threads)


def test_an_interrupt_in_mid_turn_closes_everything() -> None:
    _, head = took(after(), client(said()))
    head = after(use("c1"), END, head=head)
    _, head = took(head, client(ev.UserInterrupt(id="i"), name="in2"))
    assert decided(head) == step.Interrupt()
    head = after(*idle(head, CONFIG, ev.StopReason("end_turn"), now=5, close=True), head=head)
    assert (head.calls, head.status, decided(head)) == ((), "idle", step.Release())


def test_an_interrupt_and_a_message_in_one_request_redirect() -> None:
    _, head = took(after(), client(said()))
    _, head = took(head, client(ev.UserInterrupt(id="i"), said("instead", "u2"), name="in2"))
    assert decided(head) == step.Interrupt()
    head = after(*idle(head, CONFIG, ev.StopReason("end_turn"), now=5, close=True), head=head)
    assert decided(head) == step.Resume()


def test_an_interrupt_at_rest_is_no_more_than_an_event() -> None:
    kinds, head = took(after(), client(ev.UserInterrupt(id="i")))
    assert (kinds, decided(head)) == (["user.interrupt"], step.Release())


def test_a_failed_request_is_retried_only_when_it_is_time() -> None:
    _, head = took(after(), client(said()))
    head = after(ev.SessionStatusRescheduled(id="x", retry_at=100), head=head)
    assert (head.status, head.primary.errors) == ("rescheduling", 1)
    assert decided(head, now=10) == step.Sleep(100)
    assert decided(head, now=100) == step.CallModel()


def test_the_request_of_a_dead_owner_is_closed_first() -> None:
    _, head = took(after(), client(said()))
    head = after(ev.ModelRequestStart(id="r1"), head=head)
    assert decided(head) == step.Abandon("r1")


def test_limits_end_the_turn_with_their_error() -> None:
    _, head = took(after(), client(said()))
    for n in range(3):
        done = ev.AgentToolResult(id=f"t{n}", tool_use_id=f"c{n}")
        head = after(use(f"c{n}"), END, done, head=head)
    rest = decided(head, limits=Limits(rounds=3))
    assert isinstance(rest, step.Release)
    assert rest.stop == ev.StopReason("retries_exhausted")
    assert rest.error is not None
    assert rest.error["type"] == "tool_use_limit_reached_error"


def test_a_full_context_is_compacted_before_the_next_request() -> None:
    _, head = took(after(), client(said()))
    head = after(use("c"), END, ev.AgentToolResult(id="t", tool_use_id="c"), head=head)
    assert decided(head, limits=Limits(context_tokens=16)) == step.CallModel()
    assert decided(head, fresh_tokens=5, limits=Limits(context_tokens=16)) == step.Compact()
    head = after(ev.AgentContextCompacted(id="k", summary="s"), head=head)
    assert decided(head, fresh_tokens=5, limits=Limits(context_tokens=16)) == step.CallModel()


def test_an_archived_session_takes_inputs_without_a_turn() -> None:
    head = after(ev.SessionStatusTerminated(id="x"))
    kinds, head = took(head, client(said()))
    assert (kinds, decided(head)) == (["user.message"], step.Release())


def test_what_was_said_while_a_tool_ran_follows_its_result() -> None:
    _, head = took(after(), client(said()))
    head = after(use("c1"), END, ev.SandboxBound(id="s", generation="g1", worker="w"), head=head)
    message, result = client(said("also", "u2"), name="in2"), CallResult(id="c1", generation="g1", content=[])
    assert may_wait(head, waiting(message))
    assert not may_wait(head, waiting(client(said("also", "u2"), ev.UserInterrupt(id="i"), name="in2")))
    kinds, _ = took(head, message, result)
    assert kinds == ["agent.tool_result", "user.message"]
    assert ingest(head, CONFIG, waiting(message, result)).seq == 2
