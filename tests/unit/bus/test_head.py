"""The fold of a session's log: each thread has a state of its own."""

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head, Thread, advance

CHILD = "sthr_child"
END_TURN = ev.StopReason(type="end_turn")
ACTION = ev.StopReason(type="requires_action", event_ids=["call_1"])


def thread_running(thread: str) -> ev.Event:
    return ev.ThreadStatusRunning(id="sevt_1", thread=thread, agent_name="helper", session_thread_id="sthr_1")


def thread_idle(thread: str, stop: ev.StopReason = END_TURN) -> ev.Event:
    return ev.ThreadStatusIdle(
        id="sevt_2", thread=thread, agent_name="helper", session_thread_id="sthr_1", stop_reason=stop
    )


def session_running() -> ev.Event:
    return ev.SessionStatusRunning(id="sevt_3")


def session_idle(stop: ev.StopReason = END_TURN) -> ev.Event:
    return ev.SessionStatusIdle(id="sevt_4", stop_reason=stop)


def test_a_thread_without_events_has_the_state_of_a_new_one() -> None:
    assert Head().thread() == Head().thread(CHILD) == Thread()


def test_a_child_thread_becomes_idle() -> None:
    busy = advance(Head(), [thread_running(CHILD)], 1)
    assert (busy.status, busy.thread(CHILD).status) == ("running", "running")
    rested = advance(busy, [thread_idle(CHILD)], 10)
    assert (rested.status, rested.thread(CHILD).status) == ("idle", "idle")
    assert rested.thread(CHILD).stop == END_TURN
    assert rested.thread(PRIMARY_THREAD) == Thread(), "the primary thread is not touched"


def test_the_session_runs_until_its_last_thread_is_idle() -> None:
    head = advance(Head(), [session_running(), thread_running(PRIMARY_THREAD), thread_running(CHILD)], 1)
    head = advance(head, [thread_idle(PRIMARY_THREAD)], 10)
    assert (head.thread().status, head.status) == ("idle", "running")
    head = advance(head, [thread_idle(CHILD)], 20)
    assert head.status == "idle"
    assert head.running_since == 1, "only the idle status of the session stops its clock"


def test_a_child_thread_that_rests_owes_nothing_of_its_last_request() -> None:
    message = ev.UserMessage(id="sevt_5", thread=CHILD, content=[])
    request = ev.ModelRequestStart(id="sevt_6", thread=CHILD)
    head = advance(Head(), [message, thread_running(CHILD), request], 1)
    assert (head.thread(CHILD).todo, head.thread(CHILD).request) == (True, "sevt_6")
    waits = advance(head, [thread_idle(CHILD, ACTION)], 10).thread(CHILD)
    assert (waits.todo, waits.request, waits.stop) == (True, "", ACTION)
    refused = advance(head, [thread_idle(CHILD, ev.StopReason(type="refusal"))], 10).thread(CHILD)
    assert (refused.todo, refused.status) == (True, "idle"), "the end of a refused request has settled what it answers"
    given_up = advance(head, [thread_idle(CHILD, ev.StopReason(type="retries_exhausted"))], 10).thread(CHILD)
    assert (given_up.todo, given_up.status) == (False, "idle")


def test_the_status_of_the_session_changes_no_thread() -> None:
    running = advance(Head(), [session_running(), thread_running(PRIMARY_THREAD)], 1)
    for stop in (END_TURN, ACTION, ev.StopReason(type="retries_exhausted")):
        one = advance(running, [thread_idle(PRIMARY_THREAD, stop), session_idle(stop)], 10)
        other = advance(running, [session_idle(stop), thread_idle(PRIMARY_THREAD, stop)], 10)
        assert one.threads == other.threads
        assert advance(running, [session_idle(stop)], 10).threads == running.threads


def test_the_session_shows_the_calls_of_all_threads_that_wait_for_the_client() -> None:
    head = advance(Head(), [thread_running(PRIMARY_THREAD), thread_idle(PRIMARY_THREAD)], 1)
    assert head.stop == END_TURN
    head = advance(head, [thread_running(CHILD), thread_idle(CHILD, ACTION)], 2)
    assert head.stop == ACTION
    own = ev.StopReason(type="requires_action", event_ids=["call_2"])
    head = advance(head, [thread_running(PRIMARY_THREAD), thread_idle(PRIMARY_THREAD, own)], 3)
    assert head.stop == ev.StopReason(type="requires_action", event_ids=["call_2", "call_1"])


def test_a_session_is_rescheduled_while_no_thread_runs_and_one_waits_to_ask_again() -> None:
    waits = ev.ThreadStatusRescheduled(
        id="sevt_7", thread=CHILD, agent_name="helper", session_thread_id="sthr_1", retry_at=50
    )
    head = advance(Head(), [thread_running(PRIMARY_THREAD), thread_running(CHILD), waits], 1)
    assert (head.status, head.thread(CHILD).retry_at) == ("running", 50)
    head = advance(head, [thread_idle(PRIMARY_THREAD)], 2)
    assert head.status == "rescheduling"


def test_an_interrupt_stops_the_thread_that_it_names_and_every_thread_if_it_names_none() -> None:
    head = advance(Head(), [thread_running(PRIMARY_THREAD), thread_running(CHILD)], 1)

    def interrupted(event: ev.UserInterrupt) -> list[str]:
        return [name for name, thread in advance(head, [event], 2).threads.items() if thread.interrupted]

    assert interrupted(ev.UserInterrupt(id="i")) == [PRIMARY_THREAD, CHILD]
    assert interrupted(ev.UserInterrupt(id="i", thread=CHILD)) == [CHILD]
    assert interrupted(ev.UserInterrupt(id="i", session_thread_id="sthr_1")) == [PRIMARY_THREAD]


def test_a_message_that_a_response_missed_is_still_owed_an_answer() -> None:
    first = ev.UserMessage(id="u1", content=[])
    request = ev.ModelRequestStart(id="r")
    head = advance(Head(), [first, thread_running(PRIMARY_THREAD), request, ev.UserMessage(id="u2", content=[])], 1)

    def todo(*missed: str) -> bool:
        end = ev.ModelRequestEnd(
            id="e", model_request_start_id="r", model_usage=ev.ModelUsage(), stop="end_turn", missed=[*missed]
        )
        return advance(head, [end], 2).primary.todo

    assert (todo(), todo("u2")) == (False, True)


def test_a_message_that_a_response_missed_is_owed_nothing_once_the_user_interrupts() -> None:
    first, missed = ev.UserMessage(id="u1", content=[]), ev.UserMessage(id="u2", content=[])
    request, stop = ev.ModelRequestStart(id="r"), ev.UserInterrupt(id="i")
    end = ev.ModelRequestEnd(
        id="e", model_request_start_id="r", model_usage=ev.ModelUsage(), stop="interrupted", missed=["u2"]
    )
    before = advance(Head(), [first, thread_running(PRIMARY_THREAD), request], 1)
    assert not advance(before, [missed, stop, end], 2).primary.todo, "it was said before the interrupt"
    assert advance(before, [stop, missed, end], 2).primary.todo, "it was said after the interrupt"
