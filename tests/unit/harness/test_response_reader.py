"""The stream of an answer: whatever way its bytes are cut, the same pieces and the same answer come out."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.harness.models.interface import BlockStart, Piece, Response, TextDelta
from holdfast.harness.models.response_reader import (
    BLOCK_LIMIT,
    DELTA_COST_CHARS,
    RESPONSE_LIMIT_CHARS,
    ResponseReader,
    StreamError,
)
from holdfast.harness.models.sanitize import is_deeper
from holdfast.harness.models.scrub import Scrubber
from holdfast.harness.models.sse import SseReader
from holdfast.harness.models.to_events import INPUT_LIMIT_LEVELS

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


KEY = "sk-canary-0123456789"


def wire(events: list[dict[str, Any]], newline: str = "\n") -> bytes:
    frames = [f"event: {e['type']}{newline}data: {msgspec.json.encode(e).decode()}{newline}{newline}" for e in events]
    return f": hello{newline}{newline}{''.join(frames)}".encode()


def read(chunks: list[bytes]) -> tuple[list[Piece], ResponseReader]:
    sse, reader = SseReader(), ResponseReader(Scrubber(KEY))
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


@pytest.mark.parametrize("kept", range(len(STREAM) - 2))
def test_an_answer_that_breaks_off_is_none(kept: int) -> None:
    _, reader = read([wire(STREAM[:kept])])
    with pytest.raises(ValueError, match="ended before"):
        reader.response()


def test_a_stream_that_ends_behind_its_stop_reason_is_an_answer() -> None:
    _, reader = read([wire(STREAM[:-1])])
    assert (reader.stopped, reader.ended) == (True, False)
    answer = reader.response()
    assert (answer.stop, answer.blocks[2]["input"]) == ("tool_use", {"command": "ls"})


def block(index: int, kind: str = "tool_use", **fields: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": "bash", "input": {}} if kind == "tool_use" else {}
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **given, **fields}}


def delta(index: int, kind: str, text: str) -> dict[str, Any]:
    field = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}[kind]
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: text}}


def ended(stop: str) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop}}


def closed(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded"])
@pytest.mark.parametrize(
    ("parts", "is_closed", "found"),
    [
        (['{"command":"rm -rf /wor'], True, None),
        (['{"command":"rm -rf /work"'], True, None),
        ([], True, None),
        ([""], True, None),
        (['{"command":"ls"}'], False, None),
        (['{"command":', '"ls"}'], True, {"command": "ls"}),
    ],
)
def test_a_truncated_tool_call_has_no_input(stop: str, parts: list[str], is_closed: bool, found: Any) -> None:
    events = [block(0), *(delta(0, "input_json_delta", part) for part in parts), *([closed(0)] if is_closed else [])]
    _, reader = read([wire([*events, ended(stop)])])
    assert reader.response().blocks[0]["input"] == found


def test_a_call_without_arguments_is_complete_unless_the_answer_was_truncated_in_it() -> None:
    whole = read([wire([block(0), closed(0), ended("tool_use")])])[1].response()
    assert whole.blocks[0]["input"] == {}
    first = [block(0), closed(0), block(1, "text"), delta(1, "text_delta", "and"), closed(1), ended("max_tokens")]
    assert read([wire(first)])[1].response().blocks[0]["input"] == {}


def test_a_block_that_begins_twice_is_no_answer() -> None:
    with pytest.raises(ValueError, match="began twice"):
        read([wire([block(0), block(0, "text")])])


def test_half_an_emoji_in_the_input_of_a_call_is_replaced() -> None:
    _, reader = read([wire([block(0), delta(0, "input_json_delta", r'{"command":"echo \ud83d"}'), ended("tool_use")])])
    assert reader.response().blocks[0]["input"] is None  # the block is not closed
    raw = wire([block(0), delta(0, "input_json_delta", r'{"command":"echo \ud83d!"}'), closed(0), ended("tool_use")])
    assert read([raw])[1].response().blocks[0]["input"] == {"command": "echo \ufffd!"}


def escaped(event: dict[str, Any]) -> bytes:
    """The event with every character outside ASCII as an escape, as many gateways send it."""
    return f"data: {json.dumps(event)}\n\n".encode()


def test_an_emoji_that_is_cut_into_two_deltas_is_whole() -> None:
    events = [block(0, "text"), delta(0, "text_delta", "a \ud83d"), delta(0, "text_delta", "\ude00 b"), closed(0)]
    pieces, reader = read([b"".join(map(escaped, [*events, ended("end_turn")]))])
    assert [p.text for p in pieces if isinstance(p, TextDelta)] == ["a ", "\U0001f600 b"]
    assert reader.response().blocks[0]["text"] == "a \U0001f600 b"


@pytest.mark.parametrize("text", ["\ud83d", "a\ude00", "a\ud83d\ud83d\ude00"])
def test_half_an_emoji_in_a_text_is_replaced(text: str) -> None:
    pieces, reader = read([b"".join(map(escaped, [block(0, "text"), delta(0, "text_delta", text), closed(0)]))])
    told = "".join(p.text for p in pieces if isinstance(p, TextDelta))
    reader.read(ended("end_turn"))
    assert reader.response().blocks[0]["text"] == told
    assert "\ufffd" in told
    assert msgspec.json.encode(told)


@given(st.lists(st.integers(1, 30), max_size=12), st.sampled_from(["text_delta", "thinking_delta", "input_json_delta"]))
@settings(max_examples=200, deadline=None)
def test_a_key_that_the_endpoint_repeats_is_in_no_piece_and_no_block(sizes: list[int], kind: str) -> None:
    text = f'{{"a":"{KEY[:7]} {KEY}{KEY} and {KEY}"}}'
    places = [0, *itertools.accumulate(sizes), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(sorted({min(p, len(text)) for p in places}))]
    name = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "tool_use"}[kind]
    events = [block(0, name), *(delta(0, kind, part) for part in parts), closed(0), ended("tool_use")]
    pieces, reader = read([wire(events)])
    assert KEY not in "".join(p.text for p in pieces if isinstance(p, TextDelta))
    found = reader.response().blocks[0]
    expected = {"a": f"{KEY[:7]} ****** and ***"}
    assert found.get("input") == expected or msgspec.json.decode(found[name]) == expected


def test_a_key_in_other_parts_of_a_response_is_not_kept() -> None:
    events = [block(0, id=KEY, name=KEY, input={KEY: [KEY]}), closed(0)]
    details = {"stop_reason": KEY, "stop_details": {"explanation": f"your key is {KEY}"}}
    answer = read([wire([*events, {"type": "message_delta", "delta": details}])])[1].response()
    assert KEY not in str(answer)
    assert answer.details == {"explanation": "your key is ***"}


def test_a_long_key_is_in_no_stop_reason_in_part() -> None:
    key = "sk-canary-" + "0123456789" * 10
    reader = ResponseReader(Scrubber(key))
    reader.read({"type": "message_delta", "delta": {"stop_reason": key}})
    assert reader.response().stop == "***"


@pytest.mark.parametrize("depth", [150, 300, 900])
def test_a_deeply_nested_input_spoils_its_call_alone(depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    hello = [block(1, "text", text="Hello"), closed(1)]
    reader = ResponseReader(Scrubber(KEY))
    for event in [block(0), delta(0, "input_json_delta", deep), closed(0), *hello, ended("tool_use")]:
        reader.read(event)
    answer = reader.response()
    assert answer.blocks[1]["text"] == "Hello"
    assert is_deeper(answer.blocks[0]["input"], INPUT_LIMIT_LEVELS)


def test_a_block_that_is_deeply_nested_from_the_start_is_no_answer() -> None:
    deep = msgspec.json.decode('{"more":' * 900 + "1" + "}" * 900)
    with pytest.raises(ValueError, match="nested too deeply"):
        ResponseReader(Scrubber(KEY)).read(block(0, "thinking", **deep))


def test_a_response_has_a_bounded_number_of_blocks() -> None:
    many = [event for n in range(BLOCK_LIMIT + 50) for event in (block(n), closed(n))]
    _, reader = read([wire([*many, ended("tool_use")])])
    answer = reader.response()
    assert (len(answer.blocks), answer.stop, reader.is_cut) == (BLOCK_LIMIT, "max_tokens", True)


@pytest.mark.parametrize(
    "event",
    [
        delta(1, "text_delta", "x" * RESPONSE_LIMIT_CHARS),
        delta(0, "input_json_delta", "x" * RESPONSE_LIMIT_CHARS),
        delta(0, "thinking_delta", "x" * RESPONSE_LIMIT_CHARS),
        block(2, "text", text="x" * RESPONSE_LIMIT_CHARS),
        block(2, "redacted_thinking", data="x" * RESPONSE_LIMIT_CHARS),
        block(2, input={"x": "x" * RESPONSE_LIMIT_CHARS}),
    ],
)
def test_a_response_that_is_too_large_is_cut_and_keeps_what_came(event: dict[str, Any]) -> None:
    reader = ResponseReader(Scrubber(KEY))
    for earlier in (block(0), block(1, "text"), delta(1, "text_delta", "Hello")):
        reader.read(earlier)
    assert reader.read(event) == []
    assert reader.read(delta(1, "text_delta", " more")) == []
    answer = reader.response()
    assert (answer.stop, answer.blocks[1]["text"], answer.blocks[0]["input"]) == ("max_tokens", "Hello", None)


def test_deltas_without_text_are_bounded_too() -> None:
    reader = ResponseReader(Scrubber(KEY))
    reader.read(block(0, "text"))
    empty, read_ = delta(0, "text_delta", ""), 0
    while not reader.is_cut:
        reader.read(empty)
        read_ += 1
    assert read_ == RESPONSE_LIMIT_CHARS // DELTA_COST_CHARS


@pytest.mark.parametrize("count", [None, True, -5, 1.5, 10**30, 1 << 53, "9", [1], {}])
def test_a_number_of_tokens_that_makes_no_sense_is_left_out(count: Any) -> None:
    usage = {"input_tokens": 7, "output_tokens": count}
    start = {"type": "message_start", "message": {"usage": usage}}
    _, reader = read([wire([start, {**ended("end_turn"), "usage": usage}])])
    assert (reader.response().usage.input_tokens, reader.response().usage.output_tokens) == (7, 0)


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence", "pause_turn", "something_new"])
def test_a_complete_call_is_kept_whatever_the_stop_reason(stop: str) -> None:
    _, reader = read([wire([block(0), delta(0, "input_json_delta", '{"command":"ls"}'), closed(0), ended(stop)])])
    assert reader.response().blocks[0]["input"] == {"command": "ls"}


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
    start = STREAM[6]
    _, reader = read([wire([STREAM[0], start, *([delta(1, "text_delta", "x" * 20)] * 100_000), *STREAM[-2:]])])
    assert len(reader.response().blocks[0]["text"]) == 2_000_000
