"""Server-sent events: complete ones are decoded, whatever way the bytes are cut."""

import time

import pytest

from holdfast.harness.models.sse import SSE_EVENT_LIMIT_BYTES, SseReader

MIB = 1024 * 1024


def test_an_event_is_returned_when_its_empty_line_has_come() -> None:
    sse = SseReader()
    assert sse.feed(b'event: a\ndata: {"x":') == []
    assert sse.feed(b" 1}\n") == []
    assert sse.feed(b'\ndata: {"x": 2}\n\ndata: {"x"') == [{"x": 1}, {"x": 2}]
    assert sse.feed(b": 3}\n\n") == [{"x": 3}]


def test_comments_and_carriage_returns_are_skipped() -> None:
    raw = b': hello\r\n\r\nevent: a\r\ndata: {"x":\r\ndata: 1}\r\n\r\n'
    whole, split = SseReader(), SseReader()
    assert whole.feed(raw) == [{"x": 1}]
    assert [event for byte in raw for event in split.feed(bytes([byte]))] == [{"x": 1}]


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b"[" * 2000])
def test_data_that_is_no_json_object_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        SseReader().feed(b"data: " + data + b"\n\n")


def test_an_event_over_the_limit_is_an_error() -> None:
    sse = SseReader()
    assert sse.feed(b"x" * SSE_EVENT_LIMIT_BYTES) == []
    with pytest.raises(ValueError, match="too large"):
        sse.feed(b"x")


def test_a_huge_event_in_small_chunks_takes_time_in_proportion_to_its_size() -> None:
    """Searching the whole buffer at each chunk would move 100 GB."""
    sse, text = SseReader(), b"x" * (24 * MIB)
    began_at = time.process_time()
    sse.feed(b'data: {"text": "')
    for start in range(0, len(text), 4096):
        assert sse.feed(text[start : start + 4096]) == []
    (event,) = sse.feed(b'"}\n\n')
    assert event["text"] == text.decode()
    assert time.process_time() - began_at < 3
