"""Which inputs the client has not looked at yet."""

from holdfast.bus.ids import Key
from holdfast.session.events import unseen as module
from holdfast.session.events.unseen import Unseen

A, B = Key("t", "sesn_a0_a"), Key("t", "sesn_a0_b")


class Clock:
    def __init__(self) -> None:
        self.at = 1_000_000_000

    def __call__(self) -> int:
        return self.at


def test_the_first_stream_after_an_input_begins_with_it_and_the_next_does_not() -> None:
    unseen = Unseen(Clock())
    unseen.put(A, "sevt_1", 7)
    assert unseen.take(B) is None
    found = unseen.take(A)
    assert found
    assert (found.event, found.seq) == ("sevt_1", 7)
    assert unseen.take(A) is None


def test_what_the_client_has_looked_at_is_not_shown_again() -> None:
    unseen = Unseen(Clock())
    unseen.put(A, "sevt_1", 7)
    unseen.seen(A)
    unseen.seen(B)
    assert unseen.take(A) is None


def test_of_several_inputs_the_first_counts() -> None:
    unseen = Unseen(Clock())
    unseen.put(A, "sevt_1", 7)
    unseen.put(A, "sevt_2", 9)
    found = unseen.take(A)
    assert found
    assert found.event == "sevt_1"


def test_an_input_is_forgotten_after_a_while() -> None:
    clock = Clock()
    unseen = Unseen(clock)
    unseen.put(A, "sevt_1", 7)
    clock.at += module.WITHIN_US + 1
    assert unseen.take(A) is None
    unseen.put(A, "sevt_2", 9)
    clock.at += module.WITHIN_US + 1
    unseen.put(A, "sevt_3", 11)
    found = unseen.take(A)
    assert found
    assert found.event == "sevt_3"


def test_only_so_many_sessions_are_remembered() -> None:
    unseen = Unseen(Clock())
    keys = [Key("t", f"sesn_a0_{n}") for n in range(module.SESSIONS + 1)]
    for key in keys:
        unseen.put(key, "sevt_1", 1)
    assert unseen.take(keys[0]) is None
    assert unseen.take(keys[1])
    assert unseen.take(keys[-1])
