"""Which token deltas a connection is shown."""

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta
from holdfast.bus.ids import new_id
from holdfast.session import previews as module
from holdfast.session.previews import Previews, merged, preview_object
from tests.support.written import piece, start

BOTH = ("agent.message", "agent.thinking")


def made(count: int) -> list[str]:
    return [new_id("sevt") for _ in range(count)]


def message(event_id: str) -> ev.AgentMessage:
    return ev.AgentMessage(id=event_id, content=[])


def begins(event_id: str, thread: str = "") -> ev.ModelRequestStart:
    return ev.ModelRequestStart(id=event_id, thread=thread)


def ends(event_id: str, thread: str = "") -> ev.ModelRequestEnd:
    return ev.ModelRequestEnd(id=event_id, thread=thread, model_request_start_id="s", model_usage=ev.ModelUsage())


def test_a_preview_is_shown_from_its_start() -> None:
    request, a = made(2)
    previews = Previews(BOTH)
    previews.follow(begins(request))
    deltas = [start(a), piece(a, "x"), piece(a, "y")]
    assert previews.take(deltas) == deltas


def test_without_its_start_nothing_of_a_preview_is_shown() -> None:
    request, a, b = made(3)
    previews = Previews(BOTH)
    previews.follow(begins(request))
    assert previews.take([piece(a, "x"), start(b), piece(b, "y")]) == [start(b), piece(b, "y")]


def test_only_the_kinds_that_were_asked_for() -> None:
    request, a, t = made(3)
    previews = Previews(["agent.thinking"])
    previews.follow(begins(request))
    thinking = start(t, "agent.thinking")
    assert previews.take([thinking, start(a), piece(a, "x")]) == [thinking]


def test_thinking_is_only_announced() -> None:
    request, t = made(2)
    previews = Previews(BOTH)
    previews.follow(begins(request))
    thinking = start(t, "agent.thinking")
    assert previews.take([thinking, Delta(t, "agent.thinking", 0, "secret thought")]) == [thinking]


def test_deltas_that_are_faster_than_the_start_of_their_request_wait_for_it() -> None:
    request, a = made(2)
    previews = Previews(BOTH)
    assert previews.take([start(a), piece(a, "x")]) == []
    assert previews.follow(begins(request)) == [start(a), piece(a, "x")]
    assert previews.take([piece(a, "y")]) == [piece(a, "y")]


def test_nothing_comes_behind_the_event_itself_or_the_end_of_its_request() -> None:
    one, a, b, end, two, c = made(6)
    previews = Previews(BOTH)
    previews.follow(begins(one))
    previews.take([start(a), start(b)])
    previews.follow(message(a))
    assert previews.take([piece(a, "late"), start(a), piece(b, "x")]) == [piece(b, "x")]
    previews.follow(ends(end))
    assert previews.take([piece(b, "late"), start(c), piece(c, "x")]) == []
    assert previews.follow(begins(two)) == [start(c), piece(c, "x")]


def test_the_next_request_may_begin_before_the_end_of_the_last_was_shown() -> None:
    one, a, end, two, b = made(5)
    previews = Previews(BOTH)
    previews.follow(begins(one))
    assert previews.take([start(a), start(b)]) == [start(a), start(b)]
    previews.follow(ends(end))
    assert previews.take([piece(b, "x"), piece(a, "late")]) == []
    assert previews.follow(begins(two)) == [piece(b, "x")]


def test_a_preview_that_names_its_request_waits_for_it_though_the_last_one_still_runs() -> None:
    one, a, two, b, end = made(5)
    previews = Previews(BOTH)
    previews.follow(begins(one))
    begun = start(a, request=one)
    assert previews.take([begun]) == [begun]
    following = [start(b, request=two), piece(b, "x")]
    assert previews.take(following) == []
    previews.follow(ends(end))
    assert previews.follow(begins(two)) == following
    assert previews.take([start(new_id("sevt"), request=one)]) == []
    assert previews.take([piece(b, "y")]) == [piece(b, "y")]


def test_the_end_of_one_thread_leaves_the_others() -> None:
    one, other, a, end = made(4)
    previews = Previews(BOTH)
    previews.follow(begins(one))
    previews.follow(begins(other, "t1"))
    child = Delta(a, "agent.message", start=True, thread="t1")
    more = Delta(a, "agent.message", 0, "x", thread="t1")
    assert previews.take([child]) == [child]
    previews.follow(ends(end))
    assert previews.take([more]) == [more]


def test_a_connection_opened_in_a_response_gets_none_of_it() -> None:
    _, a, b, end, two, c = made(6)
    previews = Previews(BOTH)
    assert previews.take([piece(a, "x"), start(b), piece(b, "y")]) == []
    previews.follow(message(b))
    previews.follow(ends(end))
    assert previews.take([piece(b, "z")]) == []
    assert previews.follow(begins(two)) == []
    assert previews.take([start(c)]) == [start(c)]


def test_a_preview_with_a_hole_is_not_continued() -> None:
    request, a, b = made(3)
    previews = Previews(BOTH)
    previews.follow(begins(request))
    previews.take([start(a)])
    previews.cut()
    assert previews.take([piece(a, "x"), start(a), start(b)]) == [start(b)]


def test_a_lost_piece_ends_the_preview() -> None:
    request, a, b = made(3)
    previews = Previews(BOTH)
    previews.follow(begins(request))
    first, second, third = (Delta(a, "agent.message", 0, text, at=at) for text, at in (("ab", 0), ("cd", 2), ("e", 4)))
    assert previews.take([start(a), first, third, second]) == [start(a), first]
    assert previews.take([start(b), piece(b, "x")]) == [start(b), piece(b, "x")]


def test_deltas_of_a_response_that_nobody_follows_are_not_kept_for_ever() -> None:
    _, a, two, b = made(4)
    previews = Previews(BOTH)
    for _ in range(3 * module.HELD):
        previews.take([piece(a, "x")])
    assert previews.take([start(b)]) == []
    assert previews.follow(begins(two)) == [start(b)]


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
