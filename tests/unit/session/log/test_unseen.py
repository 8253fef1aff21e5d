"""Inputs whose outcome the client has not looked at yet."""

from holdfast.bus.head import Head, Thread
from holdfast.bus.ids import Key
from holdfast.session.log import unseen_inputs as module
from holdfast.session.log.unseen_inputs import UnseenInput, UnseenInputs

A, B = Key("t", "sesn_a0_a"), Key("t", "sesn_a0_b")
NOW = 1_000_000_000


def test_the_first_stream_after_an_input_begins_with_it_and_the_next_does_not() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    assert unseen.find(B) is None
    found = unseen.find(A)
    assert found
    assert (found.first_event_id, found.seq) == ("sevt_1", 7)
    assert unseen.find(A), "until the stream is open: it may be refused, and asked for again"
    unseen.forget(A, found)
    assert unseen.find(A) is None


def test_an_input_that_came_while_the_stream_opened_is_kept() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    found = unseen.find(A)
    assert found
    unseen.put(A, "sevt_2", 9, now=NOW + module.STREAM_OPEN_WINDOW_US + 1)
    unseen.forget(A, found)
    assert unseen.find(A)


def test_what_the_client_has_looked_at_is_not_shown_again() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    unseen.mark_seen(A)
    unseen.mark_seen(B)
    assert unseen.find(A) is None


def test_of_several_inputs_the_first_counts() -> None:
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    unseen.put(A, "sevt_2", 9, now=NOW)
    found = unseen.find(A)
    assert found
    assert found.first_event_id == "sevt_1"


def test_a_later_input_takes_the_place_of_one_that_nobody_asked_about() -> None:
    later = NOW + module.STREAM_OPEN_WINDOW_US + 1
    unseen = UnseenInputs()
    unseen.put(A, "sevt_1", 7, now=NOW)
    unseen.put(A, "sevt_2", 9, now=later)
    found = unseen.find(A)
    assert found
    assert found.first_event_id == "sevt_2"


def test_a_stream_begins_with_an_input_soon_after_it_or_soon_after_the_end_of_its_turn() -> None:
    window = module.STREAM_OPEN_WINDOW_US
    unseen = UnseenInput("sevt_1", 7, accepted_at=NOW)
    running = Head(threads={"": Thread(status="running")}, updated=NOW + 1)
    rested = Head(updated=NOW + 10 * window)
    for head in (running, rested):
        assert unseen.begins_stream(head, NOW + window)
    assert not unseen.begins_stream(running, NOW + window + 1), "its end is still to come"
    assert unseen.begins_stream(rested, NOW + 11 * window)
    assert not unseen.begins_stream(rested, NOW + 11 * window + 1)


def test_only_so_many_sessions_are_remembered() -> None:
    unseen = UnseenInputs()
    keys = [Key("t", f"sesn_a0_{n}") for n in range(module.MAX_SESSIONS + 1)]
    for key in keys:
        unseen.put(key, "sevt_1", 1, now=NOW)
    assert unseen.find(keys[0]) is None
    assert unseen.find(keys[1])
    assert unseen.find(keys[-1])
