"""Who is let in at the gate of a binding, in which order, and who stays (rules 38 and 39)."""

import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.records import decode_record
from holdfast.session.tasks.gate import MAX_IN_LINE, Gate, Message, Place, enter, leave, next_in_line, out_of_line


def message(n: int, *, task: str = "", batch: bool = False) -> Message:
    return Message(batch, 1_000 + n, n, task or f"task_{n}")


def place(n: int, *, task: str = "", batch: bool = False) -> Place:
    return Place(message(n, task=task, batch=batch), 5)


def filled(*numbers: int) -> Gate:
    return Gate(open=tuple(place(n) for n in numbers))


def test_as_many_as_the_limit_are_let_in_and_the_next_gets_in_line() -> None:
    gate, first = enter(Gate(), place(1), limit=2)
    gate, second = enter(gate, place(2), limit=2)
    gate, third = enter(gate, place(3), limit=2)
    assert (first.place, second.place, third.place) == (place(1), place(2), None)
    assert third.is_in_line
    assert gate == Gate(open=(place(1), place(2)), line=(message(3),))


def test_a_task_has_one_place_whatever_message_it_comes_with() -> None:
    gate, again = enter(filled(1), place(1), limit=1)
    assert (gate, again.place) == (filled(1), place(1))
    other = place(7, task="task_1")
    gate, renewed = enter(gate, other, limit=1)
    assert gate.open == (other,)
    assert renewed.place == other
    assert leave(gate, [place(1)]) == gate, "what was decided about the earlier message frees nothing"
    assert enter(gate, place(1), limit=1)[0] == gate, "a slow delivery of the earlier message does not take it back"
    assert leave(gate, [other]) == Gate()


def test_the_place_keeps_the_time_since_when_it_was_taken() -> None:
    late = msgspec.structs.replace(place(1), since=99)
    gate, entered = enter(filled(1), late, limit=1)
    assert entered.place == place(1)
    assert gate == filled(1)


def test_nobody_takes_a_place_that_is_needed_for_those_who_come_first() -> None:
    gate = Gate(open=(place(1),), line=(message(3),))
    after, entered = enter(gate, place(4), limit=2)
    assert entered.place is None
    assert after.line == (message(3), message(4))
    _, entered = enter(gate, place(4), limit=3)
    assert entered.place == place(4), "there is one for message 3 too"
    after, entered = enter(after, place(3), limit=2)
    assert entered.place == place(3)
    assert after.line == (message(4),)


def test_interactive_tasks_come_before_batch_tasks_that_were_published_earlier() -> None:
    gate, _ = enter(filled(1), place(2, batch=True), limit=1)
    gate, _ = enter(gate, place(3), limit=1)
    assert gate.line == (message(3), message(2, batch=True))
    gate = leave(gate, [place(1)])
    _, entered = enter(gate, place(2, batch=True), limit=1)
    assert entered.place is None
    _, entered = enter(gate, place(3), limit=1)
    assert entered.place == place(3)


def test_a_long_line_keeps_those_that_come_first() -> None:
    gate = filled(0)
    numbers = list(range(1, MAX_IN_LINE + 51))
    random.Random(4).shuffle(numbers)
    for n in numbers:
        gate, _ = enter(gate, place(n), limit=1)
    assert gate.line == tuple(message(n) for n in range(1, MAX_IN_LINE + 1))
    last = place(MAX_IN_LINE + 10)
    assert gate.is_hopeless(last.message)
    assert not gate.is_hopeless(message(MAX_IN_LINE + 10, task="task_0")), "it has a place"
    assert not gate.is_hopeless(message(0, task="task_x")), "it would come first"
    assert not enter(gate, last, limit=1)[1].is_in_line
    assert not Gate(line=gate.line[:-1]).is_hopeless(last.message)


def test_a_lower_limit_ends_nothing_and_lets_nobody_in() -> None:
    gate, entered = enter(filled(1, 2, 3), place(4), limit=1)
    assert entered.place is None
    assert next_in_line(leave(gate, [place(1)]), [message(4)], limit=1) == []


def test_as_many_are_let_try_as_there_are_free_places() -> None:
    gate = Gate(open=(place(1),), line=(message(3), message(5), message(6)))
    held = [message(5), message(9), message(3)]
    assert next_in_line(gate, held, limit=1) == []
    assert next_in_line(gate, held, limit=2) == [message(3)]
    assert next_in_line(gate, held, limit=4) == [message(3), message(5)], "6 is with another process"
    assert next_in_line(gate, held, limit=5) == [message(3), message(5), message(9)], "though it is not in line"


def test_what_is_gone_waits_no_more() -> None:
    gate = Gate(line=(message(1), message(2)))
    assert out_of_line(gate, [message(1), message(9)]) == Gate(line=(message(2),))


def test_it_is_stored_in_few_bytes_and_read_back() -> None:
    gate = Gate(open=(place(1),), line=(message(2),))
    raw = msgspec.json.encode(gate)
    assert raw == b'{"v":1,"open":[[[false,1001,1,"task_1"],5]],"line":[[false,1002,2,"task_2"]]}'
    assert decode_record(Gate, raw) == gate


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4), st.booleans(), st.booleans()), max_size=60)
"""Message, task, whether it is a batch task, and whether the task enters or leaves."""


@given(steps=STEPS, limit=st.integers(1, 3))
def test_whatever_comes_in_whatever_order(steps: list[Any], limit: int) -> None:
    gate = Gate()
    for n, task, batch, enters in steps:
        one = place(n, task=f"task_{task}", batch=batch)
        before = gate
        if not enters:
            gate = leave(gate, [one])
            assert set(before.open) - set(gate.open) <= {one}
            assert gate.line == before.line
            continue
        gate, entered = enter(gate, one, limit=limit)
        assert gate.has(one.task) == (entered.place is not None)
        assert entered.is_in_line == (one.message in gate.line)
        if entered.place and not before.has(one.task):
            ahead = [message for message in gate.line if message < one.message]
            assert len(before.open) + len(ahead) < limit, "there is a place for each that comes first"
        assert len(gate.open) <= limit
        assert len({other.task for other in gate.open}) == len(gate.open)
        assert list(gate.line) == sorted(set(gate.line))
        assert decode_record(Gate, msgspec.json.encode(gate)) == gate
