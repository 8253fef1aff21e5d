"""The events of becoming idle: of a thread by itself, and of the session with its last thread."""

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import new_id
from holdfast.bus.status import running
from holdfast.harness.turn.decide import CallModel, Interrupt, Limits, Release, decide
from holdfast.harness.turn.idle import closed, idle
from tests.unit.harness.heads import CONFIG, after

CHILD = "sthr_2"
DONE = ev.StopReason("end_turn")


def ran(*threads: str) -> Head:
    """A head after those threads began to run, one after the other."""
    head = after()
    for thread in threads:
        head = after(*running(head, CONFIG, thread=thread, new_id=new_id), head=head)
    return head


def both_run() -> Head:
    return advance(ran(PRIMARY_THREAD, CHILD), [ev.UserMessage(id="u", thread=CHILD, content=[])], 2)


def next_step(head: Head, thread: str) -> object:
    return decide(head, now=10, fresh_chars=0, limits=Limits(), thread=thread)


def test_the_session_becomes_idle_with_its_last_thread() -> None:
    head = ran(PRIMARY_THREAD)
    events = idle(head, CONFIG, DONE, now=5, thread=PRIMARY_THREAD, new_id=new_id)
    assert [ev.type_of(e) for e in events] == [
        "session.thread_status_idle", "session.usage", "session.status_idle",
    ]  # fmt: skip
    assert isinstance(events[0], ev.ThreadStatusIdle)
    assert events[0].session_thread_id == "sthr_1"
    assert advance(head, events, 5).status == "idle"


def test_a_child_thread_becomes_idle_by_itself() -> None:
    head = both_run()
    assert next_step(head, CHILD) == CallModel()
    events = idle(head, CONFIG, DONE, now=5, thread=CHILD, new_id=new_id)
    assert [(ev.type_of(e), e.thread) for e in events] == [("session.thread_status_idle", CHILD)]
    head = advance(head, [ev.ModelRequestEnd(
        id="e", thread=CHILD, model_request_start_id="r", model_usage=ev.ModelUsage(), stop="end_turn"
    ), *events], 5)  # fmt: skip
    assert (head.thread(CHILD).status, head.thread(PRIMARY_THREAD).status, head.status) == (
        "idle",
        "running",
        "running",
    )
    assert next_step(head, CHILD) == Release()


def test_an_interrupt_of_a_child_thread_closes_its_work_and_no_other() -> None:
    head = both_run()
    calls = [
        ev.AgentToolUse(id=f"c_{t}", thread=t, request="r", name="bash", input={}) for t in (PRIMARY_THREAD, CHILD)
    ]
    start = ev.ModelRequestStart(id="r2", thread=CHILD)
    head = advance(head, [*calls, start, ev.UserInterrupt(id="i", thread=CHILD)], 3)
    assert next_step(head, CHILD) == Interrupt()
    events = closed(head, CONFIG, DONE, now=5, thread=CHILD, new_id=new_id)
    assert {e.thread for e in events} == {CHILD}
    head = advance(head, events, 5)
    assert [c.id for c in head.calls] == ["c_"]
    assert (head.thread(CHILD).request, head.thread(CHILD).status) == ("", "idle")
