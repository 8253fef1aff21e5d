"""Rules 2 and 4 as decisions: when a message may be acked, and what the commit of a claim holds."""

import itertools

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, InboxPosition, Stored, commit
from holdfast.bus.head import PRIMARY_THREAD, Claim, Head, advance
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import AnyInput, Nudge, Taken
from holdfast.bus.status import running
from holdfast.harness.turn.claim import (
    ClaimCommit,
    Trigger,
    Writer,
    claim_commit,
    closing_commit,
    failures_of,
    is_done,
)  # fmt: skip
from holdfast.harness.turn.decide import Limits
from tests.unit.harness.heads import CONFIG, RUNNING, client, pending, said, use

NOW = 1_000
CHILD = "sthr_2"


def writer() -> Writer:
    number = itertools.count(1)
    return Writer("harness-1", NOW, lambda prefix: f"{prefix}_{next(number)}")


def created(*events: ev.Event, claim: Claim | None = None, taken: int = 0) -> Stored:
    position = InboxPosition("epoch", Taken(inputs=taken))
    return Stored(1, commit(None, [CONFIG, *events], by="test", new_id=new_id, now=1, claim=claim, taken=position))


def claimed(last: Stored, *inputs: AnyInput | None, trigger: int = 1, start: int = 1) -> ClaimCommit:
    waiting = pending(*inputs, start=start)
    return claim_commit(
        last, CONFIG, waiting, inbox="epoch", trigger=Trigger(trigger, "in"), limits=Limits(), writer=writer()
    )  # fmt: skip


def kinds(made: Commit) -> list[str]:
    return [ev.type_of(e) for e in made.events]


def test_a_message_may_be_acked_when_it_is_taken_and_not_the_trigger_of_the_open_claim() -> None:
    head = Head(inbox="epoch", taken=Taken(inputs=5, results=7))
    assert [is_done(head, "epoch", seq, "in") for seq in (4, 5, 6)] == [True, True, False]
    assert [is_done(head, "epoch", seq, "res") for seq in (6, 7, 8)] == [True, True, False]
    assert not is_done(head, "another epoch", 5, "in")
    assert is_done(replace(head, deleted=1), "another epoch", 9, "in"), "nobody takes an input of a deleted session"
    claim = Claim(id="c", by="harness-2", trigger=5)
    assert [is_done(replace(head, claim=claim), "epoch", seq, "in") for seq in (4, 5)] == [True, False]


def test_only_takeovers_of_the_same_trigger_count() -> None:
    assert failures_of(Head(), 5) == 0
    head = Head(claim=Claim(id="c", by="harness-2", trigger=5, failures=1))
    assert (failures_of(head, 5), failures_of(head, 6)) == (2, 0)


def test_a_claim_takes_what_waits_and_starts_the_request_that_follows() -> None:
    made = claimed(created(), client(said()), Nudge(id="n"), start=7, trigger=8)
    assert kinds(made.commit) == [*RUNNING, "user.message", "span.model_request_start"]
    head = made.commit.head
    assert head.claim == made.claim == Claim(id="clm_1", by="harness-1", trigger=8)
    assert (head.inbox, head.taken, head.recent) == ("epoch", Taken(inputs=8), ("in1",))
    assert [*made.requests] == [PRIMARY_THREAD]
    assert head.primary.request == made.requests[PRIMARY_THREAD].id


def test_a_claim_without_inputs_starts_nothing_and_takes_nothing() -> None:
    last = created(said(), claim=Claim(id="c", by="harness-2", trigger=3, failures=1), taken=3)
    made = claimed(last, trigger=3)
    assert (made.commit.events, made.requests, made.commit.head.taken) == ([], {}, Taken(inputs=3))
    assert made.claim.failures == 2


def test_a_claim_passes_over_inputs_that_are_taken() -> None:
    made = claimed(created(taken=7), client(said("old", "u1"), name="a"), client(said("new", "u2"), name="b"), start=7)
    assert [e.id for e in made.commit.events if isinstance(e, ev.UserMessage)] == ["u2"]
    assert made.commit.head.recent == ("b",)


def test_a_turn_that_nobody_survives_is_closed_with_its_inputs_taken_unread() -> None:
    start = ev.ModelRequestStart(id="r2")
    last = created(said(), use("c1"), start, claim=Claim(id="c", by="harness-2", trigger=4, failures=2), taken=2)
    made = closing_commit(last, CONFIG, inbox="epoch", trigger=Trigger(4, "in"), parked=0, writer=writer())
    assert kinds(made) == [
        "span.model_request_end", "agent.tool_result", "session.error", "session.thread_status_idle", "session.usage",
        "session.status_idle",
    ]  # fmt: skip
    assert (made.head.claim, made.head.taken, made.head.calls, made.head.status) == (None, Taken(inputs=4), (), "idle")
    assert made.head.primary.stop == ev.StopReason("retries_exhausted")


def test_a_claim_starts_the_request_of_each_thread_that_owes_a_response() -> None:
    one = replace(said("to the child", "u2"), thread=CHILD)
    made = claimed(created(), client(said("to the primary", "u1"), one))
    assert [*made.requests] == [PRIMARY_THREAD, CHILD]
    head = made.commit.head
    assert [head.thread(t).request for t in made.requests] == [start.id for start in made.requests.values()]
    assert [t for t, start in made.requests.items() if start.thread != t] == []


def test_closing_ends_the_turn_of_each_thread_at_work_and_of_no_other() -> None:
    events = [*running(Head(), CONFIG, thread=PRIMARY_THREAD, new_id=new_id), said()]
    runs = running(advance(Head(), events, 1), CONFIG, thread=CHILD, new_id=new_id)
    work = [*runs, ev.UserMessage(id="u2", thread=CHILD, content=[]), ev.ModelRequestStart(id="r2", thread=CHILD)]
    waits = ev.ThreadStatusIdle(
        id="w", thread="sthr_3", agent_name="a", session_thread_id="sthr_3", stop_reason=ev.StopReason("end_turn")
    )
    last = created(*events, *work, waits, claim=Claim(id="c", by="harness-2", trigger=4, failures=2), taken=2)
    made = closing_commit(last, CONFIG, inbox="epoch", trigger=Trigger(4, "in"), parked=0, writer=writer())
    errors = [e.thread for e in made.events if isinstance(e, ev.SessionError)]
    assert errors == [PRIMARY_THREAD, CHILD]
    assert kinds(made).count("session.status_idle") == 1
    assert kinds(made)[-1] == "session.status_idle"
    stops = {name: thread.stop.type for name, thread in made.head.threads.items() if thread.stop}
    assert stops == {PRIMARY_THREAD: "retries_exhausted", CHILD: "retries_exhausted", "sthr_3": "end_turn"}


def test_the_same_arguments_make_the_same_commit() -> None:
    last = created()
    one, two = claimed(last, client(said())), claimed(last, client(said()))
    assert (one.commit.events, one.commit.head, one.claim) == (two.commit.events, two.commit.head, two.claim)
