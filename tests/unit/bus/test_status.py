"""A change of status is told of the thread and of the session, and the head agrees with both."""

import pytest

from holdfast.bus import events as ev
from holdfast.bus.events import status
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
USAGE = {"input_tokens": 1}


def types(events: list[ev.Event]) -> list[str]:
    return [ev.type_of(event) for event in events]


def idle(thread: str) -> list[ev.Event]:
    details = {"type": "refusal"}
    return status.idle(CONFIG, DONE, usage=USAGE, details=details, thread=thread, new_id=new_id)


@pytest.mark.parametrize(("thread", "shown"), [(PRIMARY_THREAD, "sthr_1"), (CHILD, CHILD)])
def test_each_thread_is_named_with_its_agent(thread: str, shown: str) -> None:
    events = [
        *status.running(CONFIG, thread=thread, new_id=new_id),
        *status.rescheduled(CONFIG, retry_at=9, thread=thread, new_id=new_id),
        *idle(thread),
    ]
    own = [event for event in events if isinstance(event, ev.ThreadEvent)]
    assert [(event.agent_name, event.session_thread_id, event.thread) for event in own] == [
        ("tester", shown, thread)
    ] * 3
    assert {event.thread for event in events} == {thread}
    assert len({event.id for event in events}) == len(events)


def test_the_session_follows_its_primary_thread() -> None:
    running = status.running(CONFIG, thread=PRIMARY_THREAD, new_id=new_id)
    assert types(running) == ["session.status_running", "session.thread_status_running"]
    head = advance(Head(), running, 1)
    assert (head.status, head.running_since) == ("running", 1)

    waiting = status.rescheduled(CONFIG, retry_at=9, thread=PRIMARY_THREAD, new_id=new_id)
    assert types(waiting) == ["session.thread_status_rescheduled", "session.status_rescheduled"]
    head = advance(head, waiting, 5)
    assert (head.status, head.primary.retry_at, head.running_since) == ("rescheduling", 9, 0)

    resting = idle(PRIMARY_THREAD)
    assert types(resting) == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    assert [event.usage for event in resting if isinstance(event, ev.SessionUsage)] == [USAGE]
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


def test_a_child_thread_is_idle_without_the_session() -> None:
    head = advance(Head(), status.running(CONFIG, thread=PRIMARY_THREAD, new_id=new_id), 1)
    head = advance(head, status.running(CONFIG, thread=CHILD, new_id=new_id), 3)
    assert types(idle(CHILD)) == ["session.thread_status_idle"]
    head = advance(head, idle(CHILD), 10)
    assert (head.thread(CHILD).status, head.status) == ("idle", "running")
