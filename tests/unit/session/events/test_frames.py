"""Events and deltas as frames of an event stream."""

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta
from holdfast.session.events.frames import delta_to_api, event_frame, frames, merge_deltas
from holdfast.session.events.tool_output import TOOL_RESULT_TYPE
from holdfast.session.log.serialize import Position, VisibleEvent
from tests.support.session_log import delta_piece, delta_start


def test_frames_name_their_type_and_events_their_position() -> None:
    event = VisibleEvent(Position(7, 1), 1_000_000, ev.SessionStatusRunning(id="r"))
    x, y = (
        b'event: event_delta\ndata: {"type":"event_delta","event_id":"a","delta":{"type":"content_delta","index":0,'
        b'"content":{"type":"text","text":"%b"}}}\n\n' % text
        for text in (b"x", b"y")
    )
    begin = b'event: event_start\ndata: {"type":"event_start","event":{"type":"agent.message","id":"a"}}\n\n'
    running = (
        b"event: session.status_running\nid: 7-1\n"
        b'data: {"id":"r","type":"session.status_running","processed_at":"1970-01-01T00:00:01.000000Z"}\n\n'
    )
    assert (
        frames([delta_start("a"), delta_piece("a", "x"), event_frame(event), delta_piece("a", "y")])
        == begin + x + running + y
    )


def test_neighbouring_pieces_become_one() -> None:
    found = merge_deltas(
        [delta_start("a"), delta_piece("a", "x"), delta_piece("a", "y"), delta_start("b"), delta_piece("b", "z")]
    )
    assert found == [delta_start("a"), delta_piece("a", "xy"), delta_start("b"), delta_piece("b", "z")]


def test_deltas_are_spelled_as_the_sdk_reads_them() -> None:
    assert delta_to_api(delta_start("a")) == {"type": "event_start", "event": {"type": "agent.message", "id": "a"}}
    assert delta_to_api(delta_piece("a", "x")) == {
        "type": "event_delta",
        "event_id": "a",
        "delta": {"type": "content_delta", "index": 0, "content": {"type": "text", "text": "x"}},
    }


def test_the_output_of_a_call_is_sent_as_deltas_of_its_result() -> None:
    found = merge_deltas(
        [
            Delta("a", TOOL_RESULT_TYPE, start=True),
            Delta("a", TOOL_RESULT_TYPE, 0, "x", at=0),
            Delta("a", TOOL_RESULT_TYPE, 0, "y", at=1),
        ]
    )
    assert [delta_to_api(one) for one in found] == [
        {"type": "event_start", "event": {"type": "agent.tool_result", "id": "a"}},
        {
            "type": "event_delta",
            "event_id": "a",
            "delta": {"type": "content_delta", "index": 0, "content": {"type": "text", "text": "xy"}},
        },
    ]
