"""Inputs whose outcome the client has not looked at yet."""

from holdfast.bus.ids import Key
from holdfast.session.log import unseen_inputs as module
from holdfast.session.log.unseen_inputs import UnseenInputs

A, B = Key("t", "sesn_a0_a"), Key("t", "sesn_a0_b")
NOW = 1_000_000_000


def test_the_first_stream_after_an_input_begins_with_it_and_the_next_does_not() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    assert unseen.take(B, now=NOW) is None
    found = unseen.take(A, now=NOW)
    assert found
    assert (found.first_event_id, found.seq) == ("sevt_1", 7)
    assert unseen.take(A, now=NOW) is None


def test_what_the_client_has_looked_at_is_not_shown_again() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    unseen.mark_seen(A)
    unseen.mark_seen(B)
    assert unseen.take(A, now=NOW) is None


def test_of_several_inputs_the_first_counts() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    unseen.put(A, "sevt_2", 9, now=NOW)
    found = unseen.take(A, now=NOW)
    assert found
    assert found.first_event_id == "sevt_1"


def test_an_input_is_forgotten_after_a_while() -> None:
    later = NOW + module.STREAM_OPEN_WINDOW_US + 1
    much_later = later + module.STREAM_OPEN_WINDOW_US + 1
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    assert unseen.take(A, now=later) is None
    unseen.put(A, "sevt_2", 9, now=later)
    unseen.put(A, "sevt_3", 11, now=much_later)
    found = unseen.take(A, now=much_later)
    assert found
    assert found.first_event_id == "sevt_3"


def test_only_so_many_sessions_are_remembered() -> None:
    unseen = UnseenInputs()
    keys = [Key("t", f"sesn_a0_{n}") for n in range(module.MAX_SESSIONS + 1)]
    for key in keys:
        unseen.put(key, "sevt_1", 1, now=NOW)
    assert unseen.take(keys[0], now=NOW) is None
    assert unseen.take(keys[1], now=NOW)
    assert unseen.take(keys[-1], now=NOW)
