"""What waits to be sent on an event stream: the order of events and deltas, and what a slow reader misses."""

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.head import Head, Thread
from holdfast.bus.ids import new_id
from holdfast.session.events.buffer import MAX_BUFFERED_FRAMES, MAX_BUFFERED_LIVE_CHARS, StreamBuffer
from holdfast.session.log.serialize import START, Position, VisibleEvent, after_commit
from tests.support.session_log import delta_piece, delta_start

DELTAS = ("agent.message", "agent.tool_result")


def commit(seq: int, *events: ev.AnyEvent, head: Head | None = None) -> Stored:
    return Stored(seq, Commit(id=f"cmt_{seq}", at=seq * 1_000, by="test", head=head or Head(), events=list(events)))


def message(event_id: str) -> ev.AgentMessage:
    return ev.AgentMessage(id=event_id, content=[])


def opened(last: Stored, position: Position | None = None) -> StreamBuffer:
    buffer = StreamBuffer(DELTAS, position)
    buffer.reopen()
    found = position or after_commit(last.seq)
    buffer.begin(last, found, max(found.seq - 1, 0))
    return buffer


def taken(buffer: StreamBuffer) -> list[str]:
    return [
        item.event.id if isinstance(item, VisibleEvent) else f"{'start' if item.start else 'piece'} {item.event}"
        for item in buffer.take()
    ]


def test_deltas_stand_between_the_events_of_the_log() -> None:
    request, a = new_id("sevt"), new_id("sevt")
    buffer = opened(commit(1, message("old")))
    buffer.put_live([delta_start(a, request=request), delta_piece(a, "x")])
    assert not buffer
    buffer.put_commit(commit(2, ev.ModelRequestStart(id=request)))
    buffer.put_commit(commit(3, message(a)))
    buffer.put_live([delta_piece(a, "late")])
    assert taken(buffer) == [request, f"start {a}", f"piece {a}", a]
    assert not buffer
    assert buffer.position == Position(3, 0)


def test_no_delta_is_sent_before_the_replay() -> None:
    request, a = new_id("sevt"), new_id("sevt")
    head = Head(threads={"": Thread(request=request)})
    buffer = opened(commit(2, ev.ModelRequestStart(id=request), head=head), START)
    buffer.put_live([delta_start(a, request=request), delta_piece(a, "x")])
    buffer.put_commit(commit(1, message("first")))
    assert taken(buffer) == ["first"]
    buffer.put_commit(commit(2, ev.ModelRequestStart(id=request)))
    assert taken(buffer) == [request, f"start {a}", f"piece {a}"]


def test_a_slow_reader_misses_deltas_but_no_event() -> None:
    buffer = opened(commit(1))
    buffer.put_commit(commit(2, ev.AgentToolUse(id="call", name="bash", input={})))
    size = MAX_BUFFERED_LIVE_CHARS // 2 + 1
    for n in range(3):
        buffer.put_live([Output("call", "x" * size, at=n * size)])
    buffer.put_commit(commit(3, message("m")))
    assert taken(buffer) == ["call", "m"]
    buffer.put_live([Output("call", "x", at=3 * size)])
    assert taken(buffer) == [], "there would be a hole"


def test_too_many_events_are_left_to_the_log() -> None:
    buffer = opened(commit(1))
    last = commit(2, *(message(f"m{n}") for n in range(MAX_BUFFERED_FRAMES + 10)))
    buffer.put_commit(last)
    assert buffer.overflowed
    assert len(taken(buffer)) == MAX_BUFFERED_FRAMES + 1
    position = buffer.position
    assert position is not None
    assert position == Position(2, MAX_BUFFERED_FRAMES)
    buffer.reopen()
    buffer.begin(last, position, 1)
    buffer.put_commit(last)
    assert taken(buffer) == [f"m{n}" for n in range(MAX_BUFFERED_FRAMES + 1, MAX_BUFFERED_FRAMES + 10)]


def test_it_ends_with_the_session() -> None:
    buffer = opened(commit(1))
    buffer.put_commit(commit(2, ev.SessionStatusTerminated(id="end"), message("never")))
    assert buffer.ended
    assert taken(buffer) == ["end"]
    archived = commit(2, ev.SessionStatusTerminated(id="end"), head=Head(archived=1))
    assert opened(archived).ended, "nothing will ever come"
    assert not opened(archived, START).ended


def test_without_asking_nothing_live_is_wanted() -> None:
    buffer = StreamBuffer((), START)
    assert (buffer.wants_deltas, buffer.wants_outputs) == (False, False)
    buffer.reopen()
    buffer.begin(commit(1), START, 0)
    buffer.put_live([Delta("a", "agent.message", start=True), Output("b", "x")])
    buffer.put_commit(commit(1, message("a")))
    assert taken(buffer) == ["a"]
