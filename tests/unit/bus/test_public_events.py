"""Public events as CloudEvents, and how the end of their stream is read back."""

import re

import msgspec
import pytest

from holdfast.bus import subjects
from holdfast.bus.ids import Key
from holdfast.bus.public_events import (
    LOG_START,
    MAX_BODY_BYTES,
    LogPlace,
    PublicEnd,
    PublicEvent,
    body_of,
    end_of,
    headers_of,
    stored_of,
)
from holdfast.bus.traceparent import traceparent_of

KEY = Key("acme", "sesn_a0_x")

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(data: bytes = b"{}") -> PublicEvent:
    return PublicEvent(KEY, "sevt_1", "agent.message", 1_764_259_200_000_001, LogPlace(7, 2), data)


def test_the_end_is_what_the_last_message_says() -> None:
    headers = headers_of(event(), "0ab1", "pub_1")
    assert end_of(9, headers) == PublicEnd(9, "0ab1", LogPlace(7, 2), "pub_1")


@pytest.mark.parametrize("text", ["", "0ab1", "0ab1/7", "0ab1/7-", "0ab1/-7-2", "x/7-2", "0ab1/7-2 ", "0ab1/7-2\n"])
def test_a_message_that_is_not_ours_says_nothing_of_the_log(text: str) -> None:
    end = end_of(9, {"Holdfast-Log": text, "Holdfast-Publisher": "pub_1"})
    assert end == PublicEnd(9)
    assert end.place == LOG_START


def test_places_are_ordered_as_the_log_is() -> None:
    assert LOG_START < LogPlace(1, 0) < LogPlace(1, 1) < LogPlace(2, 0) < LogPlace(10, 0)


def test_all_attributes_are_headers_that_need_no_escape() -> None:
    headers = headers_of(event(), "0ab1", "pub_1")
    assert headers["ce-time"] == "2025-11-27T16:00:00.000001Z"
    for value in headers.values():
        assert re.fullmatch(r"[!#$&-~]+", value), value


def test_an_event_names_the_trace_in_which_it_arose() -> None:
    traced = msgspec.structs.replace(event(), traceparent=PARENT)
    headers = headers_of(traced, "0ab1", "pub_1")
    assert (headers["ce-traceparent"], headers["traceparent"]) == (PARENT, PARENT)
    stored = stored_of(9, headers, b"{}")
    assert stored is not None
    assert stored.traceparent == PARENT
    untraced = stored_of(9, headers_of(event(), "0ab1", "pub_1"), b"{}")
    assert untraced is not None
    assert untraced.traceparent == ""
    assert "ce-traceparent" not in headers_of(event(), "0ab1", "pub_1")


@pytest.mark.parametrize(
    "text",
    [
        "", "00", PARENT[:-1], PARENT + "0", PARENT.upper(), "01" + PARENT[2:], PARENT + "\r\nx: y", PARENT + "\n",
        f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", f" {PARENT}",
    ],
)  # fmt: skip
def test_what_is_no_trace_context_is_none(text: str) -> None:
    assert traceparent_of({"traceparent": text}) == ""
    found = stored_of(9, {**headers_of(event(), "0ab1", "pub_1"), "ce-traceparent": text}, b"{}")
    assert found is not None
    assert found.traceparent == ""


def test_an_event_that_is_too_large_names_its_list() -> None:
    assert body_of(event(b"x" * MAX_BODY_BYTES)) == b"x" * MAX_BODY_BYTES
    assert "ce-dataref" not in headers_of(event(b"x" * MAX_BODY_BYTES), "e", "p")
    large = event(b"x" * (MAX_BODY_BYTES + 1))
    assert body_of(large) == b""
    assert headers_of(large, "e", "p")["ce-dataref"] == "/v1/sessions/sesn_a0_x/events"


def test_the_dots_of_a_type_separate_tokens_of_its_subject() -> None:
    assert subjects.public(KEY, "agent.message") == "pub.a0.acme.sesn_a0_x.agent.message"
    assert subjects.public_all(KEY) == "pub.a0.acme.sesn_a0_x.>"
    for wrong in ("agent..message", "agent.*", ">", "a b"):
        with pytest.raises(ValueError, match="not a key"):
            subjects.public(KEY, wrong)
        with pytest.raises(ValueError, match="not a"):
            subjects.public_of("a0", "acme", wrong) if wrong != ">" else subjects.public_of("a0", ">", ">")
