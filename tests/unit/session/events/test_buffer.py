"""What waits to be sent on an event stream: the order of events and deltas, and what a slow reader misses."""

import json

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta, Output
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.head import Head, Thread
from holdfast.bus.ids import new_id
from holdfast.session.events.buffer import MAX_BUFFERED_BYTES, MAX_BUFFERED_LIVE_CHARS, StreamBuffer
from holdfast.session.log.serialize import START, Position, after_commit
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
        json.loads(item.partition(b"data: ")[2])["id"]
        if isinstance(item, bytes)
        else f"{'start' if item.start else 'piece'} {item.event}"
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


def long_message(event_id: str, chars: int) -> ev.AgentMessage:
    return ev.AgentMessage(id=event_id, content=[{"type": "text", "text": "x" * chars}])


def test_a_full_buffer_takes_the_rest_of_a_commit_later() -> None:
    buffer = opened(commit(1))
    last = commit(2, *(long_message(f"m{n}", MAX_BUFFERED_BYTES // 4) for n in range(10)))
    found: list[str] = []
    for _ in range(2):
        assert not buffer.put_commit(last)
        assert not buffer.put_commit(last), "nothing more while it is full"
        found += taken(buffer)
        assert len(found) % 4 == 0
    assert buffer.put_commit(last)
    assert found + taken(buffer) == [f"m{n}" for n in range(10)]
    assert buffer.put_commit(commit(3, message("next")))
    assert taken(buffer) == ["next"]


def test_what_waits_is_bounded_in_bytes_but_an_event_of_any_size_passes() -> None:
    buffer = opened(commit(1))
    assert buffer.put_commit(commit(2, long_message("large", MAX_BUFFERED_BYTES * 3)))
    assert not buffer.put_commit(commit(3, message("next")))
    assert taken(buffer) == ["large"]
    assert buffer.put_commit(commit(3, message("next")))
    assert taken(buffer) == ["next"]
    for seq in range(4, 10_000):
        if not buffer.put_commit(commit(seq, message(f"m{seq}"))):
            break
    waiting = [item for item in buffer.take() if isinstance(item, bytes)]
    assert MAX_BUFFERED_BYTES <= sum(map(len, waiting)) < MAX_BUFFERED_BYTES + 1_000


def test_a_reader_that_was_too_slow_goes_on_where_it_was() -> None:
    buffer = opened(commit(1))
    last = commit(2, *(long_message(f"m{n}", MAX_BUFFERED_BYTES // 2) for n in range(5)))
    assert not buffer.put_commit(last)
    buffer.overflowed = True
    assert taken(buffer) == ["m0", "m1"]
    position = Position(2, 1)
    assert buffer.position == position
    buffer.reopen()
    buffer.begin(last, position, 1)
    assert not buffer.put_commit(last)
    assert taken(buffer) == ["m2", "m3"]


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
