"""A session whose input was accepted is shown as running before a harness has taken it."""

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.head import Call, Head, Thread
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Taken
from holdfast.session.log import pending
from holdfast.session.log.pending import PendingInputs, owes_a_turn

KEY = Key("t", "sesn_a0_1")
MESSAGE = ev.UserMessage(id="m", content=[{"type": "text", "text": "hi"}])
REST = Head(inbox="i", taken=Taken(inputs=4))


def test_it_runs_from_the_answer_until_the_input_is_taken() -> None:
    found = PendingInputs()
    assert found.status(KEY, REST) == "idle"
    found.put(KEY, "i", 5, [MESSAGE])
    assert found.status(KEY, REST) == "running"
    assert found.status(KEY, Head()) == "running"
    assert found.status(KEY, replace(REST, taken=Taken(inputs=5))) == "idle"
    assert len(found) == 0


def test_a_later_interrupt_takes_it_back() -> None:
    found = PendingInputs()
    found.put(KEY, "i", 5, [MESSAGE])
    found.put(KEY, "i", 6, [ev.UserInterrupt(id="x")])
    assert found.status(KEY, REST) == "idle"


def test_a_message_behind_open_questions_starts_nothing() -> None:
    found = PendingInputs()
    found.put(KEY, "i", 5, [MESSAGE])
    assert found.status(KEY, replace(REST, calls=(Call("c", "bash", "ask"),))) == "idle"


def test_what_waited_in_an_inbox_that_is_gone_is_forgotten() -> None:
    found = PendingInputs()
    found.put(KEY, "old", 5, [MESSAGE])
    assert found.status(KEY, replace(REST, taken=Taken())) == "idle"


def test_it_remembers_a_bounded_number_of_sessions() -> None:
    found = PendingInputs()
    for number in range(pending.MAX_SESSIONS + 5):
        found.put(Key("t", f"s{number}"), "i", number, [MESSAGE])
    assert len(found) == pending.MAX_SESSIONS


def test_a_session_owes_a_turn_for_a_message_but_not_for_one_behind_open_questions() -> None:
    message = ev.UserMessage(id="m", content=[])
    asks = Head(calls=(Call("c", "bash", "ask"),))
    allow = ev.UserToolConfirmation(id="y", tool_use_id="c", result="allow")
    assert owes_a_turn(Head(), [message])
    assert not owes_a_turn(Head(), [])
    assert not owes_a_turn(Head(), [message, ev.UserInterrupt(id="i")])
    assert owes_a_turn(Head(), [message, ev.UserInterrupt(id="i"), message])
    assert not owes_a_turn(asks, [message])
    assert owes_a_turn(asks, [allow])
    assert owes_a_turn(asks, [replace(message, thread="sthr_2")]), "another thread runs beside the question"
    assert not owes_a_turn(Head(archived=1, threads={"": Thread(todo=True)}), [message])
