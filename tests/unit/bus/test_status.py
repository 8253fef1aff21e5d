"""A change of status is told of the thread and of the session, and the head agrees with both."""

import pytest

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import new_id

CHILD = "sthr_2"
CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="t",
    agent={"name": "tester", "model": {"id": "m"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)
DONE = ev.StopReason("end_turn")


def types(events: list[ev.Event]) -> list[str]:
    return [ev.type_of(event) for event in events]


def running(head: Head, thread: str) -> list[ev.Event]:
    return status.running(head, CONFIG, thread=thread, new_id=new_id)


def rescheduled(head: Head, thread: str) -> list[ev.Event]:
    return status.rescheduled(head, CONFIG, retry_at=9, thread=thread, new_id=new_id)


def idle(head: Head, thread: str, stop: ev.StopReason = DONE) -> list[ev.Event]:
    details = {"type": "refusal"}
    return status.idle(head, CONFIG, stop, details=details, now=10, thread=thread, new_id=new_id)


def both_run() -> Head:
    head = advance(Head(), running(Head(), PRIMARY_THREAD), 1)
    return advance(head, running(head, CHILD), 3)


@pytest.mark.parametrize(("thread", "shown"), [(PRIMARY_THREAD, "sthr_1"), (CHILD, CHILD)])
def test_each_thread_is_named_with_its_agent(thread: str, shown: str) -> None:
    events = [*running(Head(), thread), *rescheduled(Head(), thread), *idle(Head(), thread)]
    own = [event for event in events if isinstance(event, ev.ThreadEvent)]
    assert [(event.agent_name, event.session_thread_id, event.thread) for event in own] == [
        ("tester", shown, thread)
    ] * 3
    assert len({event.id for event in events}) == len(events)


def test_the_session_follows_its_only_thread() -> None:
    events = running(Head(), PRIMARY_THREAD)
    assert types(events) == ["session.status_running", "session.thread_status_running"]
    head = advance(Head(), events, 1)
    assert (head.status, head.running_since) == ("running", 1)

    waiting = rescheduled(head, PRIMARY_THREAD)
    assert types(waiting) == ["session.thread_status_rescheduled", "session.status_rescheduled"]
    head = advance(head, waiting, 5)
    assert (head.status, head.primary.retry_at, head.running_since) == ("rescheduling", 9, 0)

    resting = idle(head, PRIMARY_THREAD)
    assert types(resting) == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    assert [
        event.stop_details for event in resting if isinstance(event, ev.ThreadStatusIdle | ev.SessionStatusIdle)
    ] == [
        {"type": "refusal"},
        {"type": "refusal"},
    ]
    assert advance(head, resting, 10).status == "idle"

    ended = status.terminated(CONFIG, new_id=new_id)
    assert types(ended) == ["session.thread_status_terminated", "session.status_terminated"]
    assert advance(head, ended, 20).status == "terminated"


def test_a_further_thread_runs_without_a_change_of_the_session() -> None:
    head = advance(Head(), running(Head(), PRIMARY_THREAD), 1)
    assert types(running(head, CHILD)) == ["session.thread_status_running"]


@pytest.mark.parametrize(("first", "last"), [(PRIMARY_THREAD, CHILD), (CHILD, PRIMARY_THREAD)])
def test_the_session_is_idle_with_its_last_thread_and_stops_as_its_primary_thread(first: str, last: str) -> None:
    stops = {PRIMARY_THREAD: ev.StopReason("refusal"), CHILD: DONE}
    head = both_run()
    events = idle(head, first, stops[first])
    assert types(events) == ["session.thread_status_idle"]
    head = advance(head, events, 10)
    assert (head.thread(first).status, head.status, head.running_since) == ("idle", "running", 1)
    events = idle(head, last, stops[last])
    assert types(events) == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    shown = events[-1]
    assert isinstance(shown, ev.SessionStatusIdle)
    assert shown.stop_reason == stops[PRIMARY_THREAD]
    assert shown.stop_details == (None if last == CHILD else {"type": "refusal"}), "the details are of the own stop"
    assert advance(head, events, 20).running_since == 0


def test_the_session_is_rescheduled_once_no_thread_runs() -> None:
    head = both_run()
    events = rescheduled(head, CHILD)
    assert types(events) == ["session.thread_status_rescheduled"]
    head = advance(head, events, 5)
    assert head.status == "running"
    events = idle(head, PRIMARY_THREAD)
    assert types(events) == ["session.thread_status_idle", "session.status_rescheduled"]
    head = advance(head, events, 10)
    assert (head.status, head.running_since) == ("rescheduling", 0)
    assert types(running(head, CHILD)) == ["session.status_running", "session.thread_status_running"]
