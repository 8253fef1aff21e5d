"""The next step that follows from a head."""

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult
from holdfast.bus.tools import SANDBOX
from holdfast.harness.turn import decide
from holdfast.harness.turn.decide import Limits
from holdfast.harness.turn.idle import closed, idle
from tests.unit.harness.heads import CONFIG, END, RUNNING, after, client, decided, ingested, said, taken, use


def at_rest(head: Head, stop: ev.StopReason) -> list[ev.Event]:
    return idle(head, CONFIG, stop, now=5, thread=PRIMARY_THREAD, new_id=new_id)


def closed_turn(head: Head) -> list[ev.Event]:
    stop = ev.StopReason("end_turn")
    return closed(head, CONFIG, stop, now=5, thread=PRIMARY_THREAD, new_id=new_id)


def test_a_message_starts_the_session_and_then_the_model() -> None:
    kinds, head = taken(after(), client(said()))
    assert kinds == [*RUNNING, "user.message"]
    assert head.status == "running"
    assert decided(head) == decide.CallModel()


def test_calls_run_before_the_model_is_asked_again() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), use("c2"), END, head=head)
    assert decided(head) == decide.RunTools()
    bound = after(ev.HandBound(hand=SANDBOX, id="s", generation="g1", worker="w"), head=head)
    assert {c.generation for c in bound.calls} == {"g1"}
    kinds, head = taken(bound, CallResult(id="c1", generation="g1", content=[]))
    assert kinds == ["agent.tool_result"]
    assert decided(head) == decide.RunTools()
    _, head = taken(head, CallResult(id="c2", generation="g1", content=[]))
    assert decided(head) == decide.CallModel()


def test_two_asked_calls_wait_until_both_are_answered() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1", "ask"), use("c2", "ask"), END, head=head)
    rest = decided(head)
    assert rest == decide.Release(ev.StopReason("requires_action", ["c1", "c2"]))
    assert isinstance(rest, decide.Release)
    head = after(*at_rest(head, rest.stop), head=head)  # pyright: ignore[reportArgumentType]
    assert (head.status, decided(head)) == ("idle", decide.Release())

    yes = ev.UserToolConfirmation(id="y1", tool_use_id="c1", result="allow")
    kinds, head = taken(head, client(yes))
    assert kinds[0] == "user.tool_confirmation"
    assert kinds[-1] == "session.status_idle"
    assert head.primary.stop == ev.StopReason("requires_action", ["c2"])

    no = ev.UserToolConfirmation(id="y2", tool_use_id="c2", result="deny", deny_message="too risky")
    events = ingested(head, client(no, name="in2")).events
    assert [ev.type_of(e) for e in events] == ["user.tool_confirmation", *RUNNING, "agent.tool_result"]
    denied = events[-1]
    assert isinstance(denied, ev.AgentToolResult)
    assert "too risky" in str(denied.content)
    head = advance(head, events, 1)
    assert [(c.id, c.state) for c in head.calls] == [("c1", "ready")]
    assert decided(head) == decide.RunTools()


def test_an_interrupt_in_mid_turn_closes_everything() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), END, head=head)
    _, head = taken(head, client(ev.UserInterrupt(id="i"), name="in2"))
    assert decided(head) == decide.Interrupt()
    head = after(*closed_turn(head), head=head)
    assert (head.calls, head.status, decided(head)) == ((), "idle", decide.Release())


def test_an_interrupt_and_a_message_in_one_request_redirect() -> None:
    _, head = taken(after(), client(said()))
    _, head = taken(head, client(ev.UserInterrupt(id="i"), said("instead", "u2"), name="in2"))
    assert decided(head) == decide.Interrupt()
    head = after(*closed_turn(head), head=head)
    assert decided(head) == decide.Resume()


def test_an_interrupt_at_rest_is_no_more_than_an_event() -> None:
    kinds, head = taken(after(), client(ev.UserInterrupt(id="i")))
    assert (kinds, decided(head)) == (["user.interrupt"], decide.Release())


def test_a_failed_request_is_retried_only_when_it_is_time() -> None:
    _, head = taken(after(), client(said()))
    waits = ev.ThreadStatusRescheduled(id="x", agent_name="a", session_thread_id="sthr_1", retry_at=100)
    head = after(waits, head=head)
    assert (head.status, head.primary.errors) == ("rescheduling", 1)
    assert decided(head, now=10) == decide.Sleep(100)
    assert decided(head, now=100) == decide.CallModel()


def test_the_request_of_a_dead_owner_is_closed_first() -> None:
    _, head = taken(after(), client(said()))
    head = after(ev.ModelRequestStart(id="r1"), head=head)
    assert decided(head) == decide.Abandon("r1")


def test_limits_end_the_turn_with_their_error() -> None:
    _, head = taken(after(), client(said()))
    for n in range(3):
        done = ev.AgentToolResult(id=f"t{n}", tool_use_id=f"c{n}")
        head = after(use(f"c{n}"), END, done, head=head)
    rest = decided(head, limits=Limits(rounds=3))
    assert isinstance(rest, decide.Release)
    assert rest.stop == ev.StopReason("retries_exhausted")
    assert rest.error is not None
    assert rest.error["type"] == "tool_use_limit_reached_error"


def test_a_full_context_is_compacted_before_the_next_request() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c"), END, ev.AgentToolResult(id="t", tool_use_id="c"), head=head)
    assert decided(head, limits=Limits(context_tokens=16)) == decide.CallModel()
    assert decided(head, fresh_chars=20, limits=Limits(context_tokens=16)) == decide.Compact()
    head = after(ev.AgentContextCompacted(id="k", summary="s"), head=head)
    assert decided(head, fresh_chars=20, limits=Limits(context_tokens=16)) == decide.CallModel()


def test_an_archived_session_takes_inputs_without_a_turn() -> None:
    head = after(ev.SessionStatusTerminated(id="x"))
    kinds, head = taken(head, client(said()))
    assert (kinds, decided(head)) == (["user.message"], decide.Release())


def test_a_message_while_approvals_are_open_tells_again_what_is_waited_for() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1", "ask"), use("c2", "ask"), END, head=head)
    waiting = ev.StopReason("requires_action", ["c1", "c2"])
    head = after(*at_rest(head, waiting), head=head)
    kinds, head = taken(head, client(said("and?", "u2"), said("hello?", "u3"), name="in2"))
    idle_again = ["session.thread_status_idle", "session.usage", "session.status_idle"]
    assert kinds == ["user.message", "user.message", *idle_again]
    assert (head.primary.stop, head.status, decided(head)) == (waiting, "idle", decide.Release())

    yes = ev.UserToolConfirmation(id="y1", tool_use_id="c1", result="allow")
    kinds, head = taken(head, client(said("go on", "u4"), yes, name="in3"))
    assert kinds == ["user.message", "user.tool_confirmation", *idle_again]
    assert head.primary.stop == ev.StopReason("requires_action", ["c2"])

    no = ev.UserToolConfirmation(id="y2", tool_use_id="c2", result="deny")
    kinds, head = taken(head, client(no, said("thanks", "u5"), name="in4"))
    assert "session.status_idle" not in kinds
    assert decided(head) == decide.RunTools()


def test_a_message_while_other_calls_run_tells_nothing_before_they_have_ended() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), use("c2", "ask"), END, head=head)
    kinds, _ = taken(head, client(said("and?", "u2"), name="in2"))
    assert kinds == ["user.message"]
