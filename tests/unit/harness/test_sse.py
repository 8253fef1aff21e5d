"""Server-sent events: complete ones are decoded, whatever way the bytes are cut."""

import time

import pytest

from holdfast.harness.models.sse import SSE_EVENT_LIMIT_BYTES, STREAM_LIMIT_BYTES, EventTooLarge, SseReader

MIB = 1024 * 1024


def test_an_event_is_returned_when_its_empty_line_has_come() -> None:
    sse = SseReader()
    assert list(sse.feed(b'event: a\ndata: {"x":')) == []
    assert list(sse.feed(b" 1}\n")) == []
    assert list(sse.feed(b'\ndata: {"x": 2}\n\ndata: {"x"')) == [{"x": 1}, {"x": 2}]
    assert list(sse.feed(b": 3}\n\n")) == [{"x": 3}]


def test_comments_and_carriage_returns_are_skipped() -> None:
    raw = b': hello\r\n\r\nevent: a\r\ndata: {"x":\r\ndata: 1}\r\n\r\n'
    whole, split = SseReader(), SseReader()
    assert list(whole.feed(raw)) == [{"x": 1}]
    assert [event for byte in raw for event in split.feed(bytes([byte]))] == [{"x": 1}]


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_any_of_the_three_ways(newline: bytes) -> None:
    raw = b"\xef\xbb\xbf" + newline.join([b'data: {"x":', b"data: 1}", b"", b'data: {"x": 2}', b"", b""])
    whole, split = SseReader(), SseReader()
    assert list(whole.feed(raw)) == [{"x": 1}, {"x": 2}]
    assert [event for byte in raw for event in split.feed(bytes([byte]))] == [{"x": 1}, {"x": 2}]


def test_the_last_event_needs_no_empty_line() -> None:
    sse = SseReader()
    assert list(sse.feed(b'data: {"x": 1}\n\ndata: {"x": 2}')) == [{"x": 1}]
    assert list(sse.end()) == [{"x": 2}]
    assert list(sse.end()) == []
    cut = SseReader()
    list(cut.feed(b'data: {"x'))
    assert list(cut.end()) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'{"x": "\ud83d"}', "\ud83d"),
        (rb'{"x": "\ude00\ud83d"}', "\ude00\ud83d"),
        (rb'{"x": "\ud83d\ude00"}', "\U0001f600"),
        (b'{"x": "a\xffb"}', "a\ufffdb"),
        (b'{"x": "\xed\xa0\xbd"}', "\ufffd\ufffd\ufffd"),
    ],
)
def test_characters_that_are_cut_in_half_are_no_error(data: bytes, text: str) -> None:
    assert list(SseReader().feed(b"data: " + data + b"\n\n")) == [{"x": text}]


@pytest.mark.parametrize("data", [b"[1]", b"{", b"\xff", b"[" * 2000, b'{"x": NaN}', b'{"x": 1e999}', b'["\xff"]'])
def test_data_that_is_no_json_object_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        list(SseReader().feed(b"data: " + data + b"\n\n"))


def test_the_events_before_one_that_cannot_be_decoded_are_returned() -> None:
    events = SseReader().feed(b'data: {"x": 1}\n\ndata: nonsense\n\n')
    assert next(events) == {"x": 1}
    with pytest.raises(ValueError, match="no JSON object"):
        next(events)


def test_an_event_over_the_limit_is_an_error() -> None:
    sse = SseReader()
    assert list(sse.feed(b"x" * SSE_EVENT_LIMIT_BYTES)) == []
    with pytest.raises(EventTooLarge):
        list(sse.feed(b"x"))


def test_a_stream_of_events_that_carry_nothing_is_bounded() -> None:
    sse, ping = SseReader(), b'data: {"type": "ping"}\n\n' * 40_000
    for _ in range(STREAM_LIMIT_BYTES // len(ping)):
        assert len(list(sse.feed(ping))) == 40_000
    with pytest.raises(EventTooLarge, match="stream"):
        list(sse.feed(ping))


def test_a_huge_event_in_small_chunks_takes_time_in_proportion_to_its_size() -> None:
    """Searching the whole buffer at each chunk would move 12 GB."""
    sse, text = SseReader(), b"x" * (7 * MIB)
    began_at = time.process_time()
    list(sse.feed(b'data: {"text": "'))
    for start in range(0, len(text), 4096):
        assert list(sse.feed(text[start : start + 4096])) == []
    (event,) = sse.feed(b'"}\n\n')
    assert event["text"] == text.decode()
    assert time.process_time() - began_at < 3
