"""Which token deltas a connection is shown."""

from services.bus import events as ev
from services.bus.commands import Delta
from services.bus.head import Head, Thread
from services.session.previews import Previews, merged, preview_object
from tests.support.written import piece, start

BOTH = ("agent.message", "agent.thinking")


def message(event_id: str) -> ev.AgentMessage:
    return ev.AgentMessage(id=event_id, content=[])


def end(thread: str = "") -> ev.ModelRequestEnd:
    return ev.ModelRequestEnd(id="e", thread=thread, model_request_start_id="s", model_usage=ev.ModelUsage())


def test_a_preview_is_shown_from_its_start() -> None:
    deltas = [start("a"), piece("a", "x"), piece("a", "y")]
    assert Previews(BOTH).take(deltas) == deltas


def test_without_its_start_nothing_of_a_preview_is_shown() -> None:
    assert Previews(BOTH).take([piece("a", "x"), start("b"), piece("b", "y")]) == [start("b"), piece("b", "y")]


def test_only_the_kinds_that_were_asked_for() -> None:
    previews = Previews(["agent.thinking"])
    thinking = start("t", "agent.thinking")
    assert previews.take([thinking, start("a"), piece("a", "x")]) == [thinking]


def test_thinking_is_only_announced() -> None:
    previews = Previews(BOTH)
    assert previews.take([start("t", "agent.thinking"), Delta("t", "agent.thinking", 0, "secret thought")]) == [
        start("t", "agent.thinking")
    ]


def test_nothing_comes_behind_the_event_itself_or_the_end_of_its_request() -> None:
    previews = Previews(BOTH)
    previews.take([start("a"), start("b")])
    previews.end(message("a"))
    assert previews.take([piece("a", "late"), start("a"), piece("b", "x")]) == [piece("b", "x")]
    previews.end(end())
    assert previews.take([piece("b", "late")]) == []
    assert previews.take([start("c"), piece("c", "x")]) == [start("c"), piece("c", "x")]


def test_the_end_of_one_thread_leaves_the_others() -> None:
    previews = Previews(BOTH)
    child = Delta("a", "agent.message", start=True, thread="t1")
    more = Delta("a", "agent.message", 0, "x", thread="t1")
    assert previews.take([child]) == [child]
    previews.end(end())
    assert previews.take([more]) == [more]


def test_a_connection_opened_in_a_response_gets_none_of_it() -> None:
    previews = Previews(BOTH)
    previews.begin(Head(threads={"": Thread(request="s")}))
    assert previews.take([piece("a", "x"), start("b"), piece("b", "y")]) == []
    previews.end(end())
    assert previews.take([piece("b", "z"), start("c")]) == [start("c")]


def test_a_preview_with_a_hole_is_not_continued() -> None:
    previews = Previews(BOTH)
    previews.take([start("a")])
    previews.cut()
    assert previews.take([piece("a", "x"), start("a"), start("b")]) == [start("b")]


def test_neighbouring_pieces_become_one() -> None:
    found = merged([start("a"), piece("a", "x"), piece("a", "y"), start("b"), piece("b", "z")])
    assert found == [start("a"), piece("a", "xy"), start("b"), piece("b", "z")]


def test_deltas_are_spelled_as_the_sdk_reads_them() -> None:
    assert preview_object(start("a")) == {"type": "event_start", "event": {"type": "agent.message", "id": "a"}}
    assert preview_object(piece("a", "x")) == {
        "type": "event_delta",
        "event_id": "a",
        "delta": {"type": "content_delta", "index": 0, "content": {"type": "text", "text": "x"}},
    }
