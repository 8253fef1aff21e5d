"""From a message of a client to the first output of the model on its stream: what counts, and what does not."""

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id, time_of
from holdfast.session.log.serialize import START
from tests.support.session_log import delta_piece, delta_start
from tests.unit.session.events.test_buffer import commit, message, opened


def asked() -> ev.UserMessage:
    return ev.UserMessage(id=new_id("sevt"), content=[])


def test_the_first_delta_counts_once() -> None:
    question, request, a = asked(), new_id("sevt"), new_id("sevt")
    buffer = opened(commit(1, message("old")))
    buffer.put_commit(commit(2, question, ev.ModelRequestStart(id=request)))
    assert buffer.take_answered() is None
    buffer.put_live([delta_start(a, request=request), delta_piece(a, "x")])
    assert buffer.take_answered() == time_of(question.id)
    buffer.put_commit(commit(3, message(a)))
    assert buffer.take_answered() is None


def test_without_deltas_the_first_block_counts_whatever_it_is() -> None:
    for block in (message("m"), ev.AgentToolUse(id="t", name="bash", input={})):
        question = asked()
        buffer = opened(commit(1, message("old")))
        buffer.put_commit(commit(2, question))
        buffer.put_commit(commit(3, block))
        assert buffer.take_answered() == time_of(question.id)


def test_of_two_messages_the_first_waits_longer() -> None:
    first, second = asked(), asked()
    buffer = opened(commit(1, message("old")))
    buffer.put_commit(commit(2, first))
    buffer.put_commit(commit(3, second, message("m")))
    assert buffer.take_answered() == time_of(first.id)


def test_history_counts_for_nothing() -> None:
    buffer = opened(commit(3, message("answer")), START)
    buffer.put_commit(commit(1, asked()))
    buffer.put_commit(commit(2, message("m")))
    buffer.put_commit(commit(3, message("answer")))
    assert buffer.take_answered() is None
    buffer.put_commit(commit(4, message("later, of no message on this stream")))
    assert buffer.take_answered() is None


def test_an_id_that_is_not_ours_has_no_time() -> None:
    buffer = opened(commit(1, message("old")))
    buffer.put_commit(commit(2, ev.UserMessage(id="theirs", content=[])))
    buffer.put_commit(commit(3, message("m")))
    assert buffer.take_answered() is None
