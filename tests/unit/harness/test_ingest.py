"""The events of a commit that takes inputs."""

import pytest
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.errors import Newer
from holdfast.bus.head import PRIMARY_THREAD, advance
from holdfast.bus.inputs import AnyInput, CallResult, Nudge, Taken
from holdfast.bus.tools import SANDBOX
from holdfast.harness.tools.tool_results import CALL_LOST
from holdfast.harness.turn.ingest import addressed, before_newer, leaves_to_wait, waits_for
from tests.unit.harness.heads import END, after, client, ingested, pending, said, taken, use

CHILD = "sthr_2"


def test_a_second_message_in_the_same_turn_has_no_status() -> None:
    _, head = taken(after(), client(said()))
    kinds, _ = taken(head, client(said("more", "u2"), name="in2"))
    assert kinds == ["user.message"]


def test_an_input_taken_before_is_not_taken_again() -> None:
    given = client(said())
    once = ingested(after(), given, given)
    assert [e.id for e in once.events if isinstance(e, ev.UserMessage)] == ["u1"]
    assert once.taken == Taken(inputs=2)
    head = after()
    head = replace(head, recent=("in1",))
    assert ingested(head, given).events == []


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
    head = after(said(), use("c1"), END, ev.HandBound(hand=SANDBOX, id="s", generation="g1", worker="w"))
    what = ingested(head, result, start=7)
    assert (what.events, max(what.taken.inputs, what.taken.results), what.progress) == ([], 7, False)


def test_a_lost_call_ends_its_generation_and_its_siblings() -> None:
    bound = ev.HandBound(id="s", hand=SANDBOX, generation="g1", worker="w", kept="Files stay.")
    head = after(said(), use("c1"), use("c2"), END, bound)
    what = ingested(head, CallResult(id="c1", generation="g1", content=[], is_error=True, lost=True))
    results = [e for e in what.events if isinstance(e, ev.AgentToolResult)]
    assert [r.tool_use_id for r in results] == ["c1", "c2"]
    assert results[1].content == [{"type": "text", "text": f"{CALL_LOST.format(hand=SANDBOX)} Files stay."}]
    assert advance(head, what.events, 1).hands == {}


def test_a_confirmation_of_an_answered_call_changes_nothing() -> None:
    _, head = taken(after(), client(said()))
    yes = ev.UserToolConfirmation(id="y", tool_use_id="nope", result="allow")
    _, new = taken(head, client(yes, name="in2"))
    assert (new.calls, new.threads) == (head.calls, head.threads)


def test_what_was_said_while_a_tool_ran_follows_its_result() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), END, ev.HandBound(hand=SANDBOX, id="s", generation="g1", worker="w"), head=head)
    message, result = client(said("also", "u2"), name="in2"), CallResult(id="c1", generation="g1", content=[])
    assert waits_for(head, pending(message)) == {PRIMARY_THREAD}
    assert not waits_for(head, pending(client(said("also", "u2"), ev.UserInterrupt(id="i"), name="in2")))
    kinds, _ = taken(head, message, result)
    assert kinds == ["agent.tool_result", "user.message"]
    assert ingested(head, message, result).taken == Taken(inputs=1, results=2)


def test_a_message_waits_for_its_own_thread_only() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), END, head=head)
    other = client(replace(said("to the child", "u2"), thread=CHILD), name="in2")
    assert not waits_for(head, pending(other))
    assert waits_for(head, pending(other), asking=[CHILD]) == {CHILD}
    assert waits_for(head, pending(other, client(said("also", "u3"), name="in3")), asking=[CHILD]) == {
        CHILD,
        PRIMARY_THREAD,
    }
    assert leaves_to_wait(head, pending(other), [CHILD])
    assert not leaves_to_wait(head, pending(other), [])
    assert not leaves_to_wait(head, pending(CallResult(id="c1", generation="g1", content=[])), [PRIMARY_THREAD])


def test_the_threads_that_inputs_are_for() -> None:
    _, head = taken(after(), client(said()))
    head = after(use("c1"), END, head=head)
    head = after(replace(use("c2", "ask"), thread=CHILD), head=head)  # type: ignore[type-var]
    result = CallResult(id="c1", generation="g1", content=[])
    answer = client(ev.UserToolConfirmation(id="y", tool_use_id="c2", result="allow"), name="in2")
    assert addressed(head, pending(result)) == {PRIMARY_THREAD}
    assert addressed(head, pending(answer)) == {CHILD}
    assert addressed(head, pending(Nudge(id="n"))) == set()
    stop = ev.UserInterrupt(id="i")
    assert addressed(head, pending(client(stop))) == {PRIMARY_THREAD, CHILD} & set(head.threads)


def test_nothing_is_taken_from_the_first_newer_input_on() -> None:
    one, two, three = pending(client(said()), None, client(said("b", "u2"), name="in2"), start=5)
    newer = replace(two, newer=True)
    assert before_newer([one, two, three], upto=7) == [one, two, three], "an unreadable input is not a newer one"
    assert before_newer([one, newer, three]) == [one]
    assert before_newer([one, newer, three], upto=5) == [one]
    assert before_newer([one, newer, replace(three, source="res")]) == [one, replace(three, source="res")]
    assert before_newer([]) == []
    for upto in (6, 7):
        with pytest.raises(Newer):
            before_newer([one, newer, three], upto=upto)
