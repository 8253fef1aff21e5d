"""The calls of one response run in its order: what changes something is a barrier, what reads runs side by side."""

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.bus import events as ev
from holdfast.bus.head import Head
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult
from holdfast.bus.tools import EXECUTABLE, SANDBOX
from holdfast.harness.models.interface import Response
from holdfast.harness.tools.call_order import SIDE_BY_SIDE, due
from holdfast.harness.turn import decide
from holdfast.harness.turn.idle import idle
from tests.unit.harness.heads import CONFIG, END, after, client, decided, said, taken
from tests.unit.harness.responses import response_events


def use(call: str, permission: Any = "allow", hand: str = SANDBOX, thread: str = "") -> ev.AgentToolUse:
    """A call whose id says whether it reads: `r1` does, `w1` does not."""
    return ev.AgentToolUse(
        id=call, request="r", name="tool", input={}, hand=hand, thread=thread,
        evaluated_permission=permission, reads=call.startswith("r"),
    )  # fmt: skip


def called(*calls: ev.Event) -> Head:
    return after(ev.HandBound(hand=SANDBOX, id="b", generation="g1", worker="w"), *calls, END, head=begun())


def begun() -> Head:
    return taken(after(), client(said()))[1]


def ids(head: Head, thread: str = "") -> list[str]:
    return [c.id for c in due(head, thread)]


def done(head: Head, *calls: str) -> Head:
    return taken(head, *(CallResult(id=call, generation="g1", content=[]) for call in calls))[1]


def test_only_what_reads_is_declared_to_read() -> None:
    assert {name for name, tool in EXECUTABLE.items() if tool.read_only} == {"read", "glob", "grep"}
    names = ["bash", "read", "write", "edit", "glob", "grep"]
    blocks: list[ev.Block] = [{"type": "tool_use", "id": n, "name": n, "input": {}} for n in names]
    events = response_events(Response(blocks, "tool_use", ev.ModelUsage()))
    assert [e.name for e in events if isinstance(e, ev.AgentToolUse) and e.reads] == ["read", "glob", "grep"]


def test_changes_run_one_after_the_other_and_reads_side_by_side_between_them() -> None:
    head = called(*map(use, ["r1", "r2", "w1", "r3", "r4", "w2", "w3"]))
    order: list[list[str]] = []
    while found := ids(head):
        order.append(found)
        assert decided(head) == decide.RunTools()
        head = done(head, *found)
    assert order == [["r1", "r2"], ["w1"], ["r3", "r4"], ["w2"], ["w3"]]
    assert decided(head) == decide.CallModel()


def test_a_change_waits_for_each_read_before_it() -> None:
    head = done(called(*map(use, ["r1", "r2", "w1"])), "r2")
    assert ids(head) == ["r1"]


def test_hundreds_of_reads_run_some_at_a_time() -> None:
    names = [f"r{n}" for n in range(3 * SIDE_BY_SIDE)]
    head = called(*map(use, names), use("w1"))
    assert ids(head) == names[:SIDE_BY_SIDE]
    assert ids(done(head, "r3", "r5")) == [n for n in names[: SIDE_BY_SIDE + 2] if n not in ("r3", "r5")]
    assert ids(done(head, *names)) == ["w1"]


def test_hands_and_threads_have_orders_of_their_own() -> None:
    head = called(use("w1"), use("w2", hand="other"), use("w3", thread="sthr_2"), use("w4"))
    assert ids(head) == ["w1", "w2"]
    assert ids(head, "sthr_2") == ["w3"]


def test_calls_behind_one_that_waits_for_the_client_wait_too_and_belong_to_no_generation() -> None:
    head = called(use("r1"), use("w1", "ask"), use("r2"), use("w2"))
    assert [(c.id, c.state, c.generation) for c in head.calls] == [
        ("r1", "ready", "g1"), ("w1", "ask", ""), ("r2", "held", ""), ("w2", "held", "")
    ]  # fmt: skip
    assert ids(head) == ["r1"]
    head = done(head, "r1")
    waiting = ev.StopReason("requires_action", ["w1"])
    assert decided(head) == decide.Release(waiting)
    head = after(*idle(head, CONFIG, waiting, now=5, thread="", new_id=new_id), head=head)
    yes = ev.UserToolConfirmation(id="y1", tool_use_id="w1", result="allow")
    _, head = taken(head, client(yes, name="in2"))
    assert ids(head) == ["w1"]
    assert [c.state for c in head.calls] == ["ready", "ready", "ready"]


def test_reads_do_not_wait_for_a_read_that_waits_for_the_client() -> None:
    head = called(use("r1", "ask"), use("r2"), use("w1"), use("r3"))
    assert [(c.id, c.state) for c in head.calls] == [("r1", "ask"), ("r2", "ready"), ("w1", "held"), ("r3", "held")]
    assert ids(head) == ["r2"]


def test_a_denied_call_bars_nothing_once_it_has_its_error() -> None:
    error = ev.AgentToolResult(id="e1", tool_use_id="w1", is_error=True)
    head = after(use("w1", "deny"), use("w2"), END, error, head=begun())
    assert ids(head) == ["w2"]


@given(st.lists(st.sampled_from(["r", "w", "ar", "aw", "dr", "dw"]), max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_every_call_runs_in_the_end_and_never_before_one_that_it_follows(
    plan: Sequence[str], rng: random.Random
) -> None:
    permissions = {"": "allow", "a": "ask", "d": "deny"}
    calls = [use(f"{kind[-1]}{n}", permissions[kind[:-1]]) for n, kind in enumerate(plan)]
    denied = [ev.AgentToolResult(id=f"e{c.id}", tool_use_id=c.id) for c in calls if c.evaluated_permission == "deny"]
    head = after(ev.HandBound(hand=SANDBOX, id="b", generation="g1", worker="w"), *calls, END, *denied, head=begun())
    while head.calls:
        found = due(head, "")
        for call in found:
            before = head.calls[: head.calls.index(call)]
            assert all(c.reads and call.reads for c in before)
        if found:
            chosen = rng.choice(found)
            head = after(ev.AgentToolResult(id="x", tool_use_id=chosen.id), head=head)
        else:
            waiting = [c for c in head.calls if c.state == "ask"]
            assert waiting, "something can always be done"
            chosen = rng.choice(waiting)
            head = after(ev.UserToolConfirmation(id="y", tool_use_id=chosen.id, result="allow"), head=head)
