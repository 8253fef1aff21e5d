"""The stream of an answer: whatever way its bytes are cut, the same pieces and the same answer come out."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.harness.models.interface import BlockStart, Piece, Response, TextDelta
from holdfast.harness.models.response_reader import ResponseReader, StreamError
from holdfast.harness.models.sse import SseReader

STREAM: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüße"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " all\n\n"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "a_new_delta", "x": 1}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "name": "bash", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"comm'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": 'and":"ls"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def wire(events: list[dict[str, Any]], newline: str = "\n") -> bytes:
    frames = [f"event: {e['type']}{newline}data: {msgspec.json.encode(e).decode()}{newline}{newline}" for e in events]
    return f": hello{newline}{newline}{''.join(frames)}".encode()


def read(chunks: list[bytes]) -> tuple[list[Piece], ResponseReader]:
    sse, reader = SseReader(), ResponseReader()
    pieces = [piece for chunk in chunks for event in sse.feed(chunk) for piece in reader.read(event)]
    return pieces, reader


@given(st.lists(st.integers(0, 2000), max_size=8), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=200, deadline=None)
def test_however_the_bytes_are_cut_the_answer_is_the_same(cuts: list[int], newline: str) -> None:
    raw = wire(STREAM, newline)
    places = [0, *sorted(min(c, len(raw)) for c in cuts), len(raw)]
    pieces, reader = read([raw[a:b] for a, b in itertools.pairwise(places)])
    assert [p for p in pieces if isinstance(p, TextDelta)] == [TextDelta(1, "Grüße"), TextDelta(1, " all\n\n")]
    assert [p.type for p in pieces if isinstance(p, BlockStart)] == ["thinking", "text", "tool_use"]
    answer = reader.response()
    assert isinstance(answer, Response)
    assert answer.blocks[0]["signature"] == "sig"
    assert answer.blocks[1]["text"] == "Grüße all\n\n"
    assert answer.blocks[2]["input"] == {"command": "ls"}
    assert (answer.stop, answer.usage.input_tokens, answer.usage.output_tokens) == ("tool_use", 7, 9)


@pytest.mark.parametrize("kept", range(len(STREAM)))
def test_an_answer_that_breaks_off_is_none(kept: int) -> None:
    _, reader = read([wire(STREAM[:kept])])
    with pytest.raises(ValueError, match="ended before"):
        reader.response()


def test_an_error_event_is_an_error() -> None:
    with pytest.raises(StreamError, match="busy") as caught:
        read([wire([{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}])])
    assert caught.value.kind == "overloaded_error"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(STREAM), st.sampled_from(["index", "delta", "message"]), JSON), max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_stream_of_the_wrong_form_ends_in_a_known_error(plan: list[tuple[dict[str, Any], str, Any]]) -> None:
    try:
        read([wire([{**event, field: value} for event, field, value in plan])])[1].response()
    except (ValueError, StreamError):
        return


def test_a_long_answer_takes_time_in_proportion_to_its_length() -> None:
    delta = {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "x" * 20}}
    start = STREAM[6]
    _, reader = read([wire([STREAM[0], start, *([delta] * 100_000), *STREAM[-2:]])])
    assert len(reader.response().blocks[0]["text"]) == 2_000_000
