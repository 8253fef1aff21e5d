"""What clients may send: shapes, and whether a session in some state can take it."""

import base64
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus import events as ev
from holdfast.bus.head import Call, Head
from holdfast.bus.ids import new_id
from holdfast.session.events.content import MAX_BLOCKS, MAX_IMAGE_BYTES
from holdfast.session.events.schema import Sent
from holdfast.session.events.validation import (
    INITIAL_EVENTS,
    MAX_EVENTS,
    MAX_INITIAL_EVENTS,
    SENT_EVENTS,
    check_against_head,
    closed_custom_calls,
    to_events,
)
from holdfast.session.http.decoding import read_json
from holdfast.session.http.errors import ApiError

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
SEARCH = {
    "type": "search_result",
    "source": "https://example.com",
    "title": "t",
    "content": [{"type": "text", "text": "c"}],
    "citations": {"enabled": False},
}
HEAD = Head(
    count=1, at=1, calls=(Call("ask1", "bash", "ask"), Call("mine1", "mine", "client"), Call("r1", "x", "ready"))
)


class Body(msgspec.Struct):
    events: list[Sent]


def read(*events: Any, initial: bool = False) -> list[ev.ClientEvent]:
    body: Body = read_json(msgspec.json.encode({"events": events}), Body)
    return to_events(body.events, INITIAL_EVENTS if initial else SENT_EVENTS, new_id)


def refused(*events: Any, initial: bool = False) -> str:
    with pytest.raises(ApiError) as caught:
        read(*events, initial=initial)
    assert caught.value.status == 400
    return caught.value.message


def message(*blocks: Any) -> dict[str, Any]:
    return {"type": "user.message", "content": list(blocks) or [{"type": "text", "text": "hi"}]}


def image(**source: Any) -> dict[str, Any]:
    return message({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG, **source}})


def document(**source: Any) -> dict[str, Any]:
    return message({"type": "document", "source": source})


def allow(call: str) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"}


def result(call: str, **more: Any) -> dict[str, Any]:
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call, **more}


def test_events_keep_what_was_sent_and_get_an_id() -> None:
    blocks = [
        {"type": "text", "text": "hi"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}, "title": "t"},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    ]
    (event,) = read(message(*blocks))
    assert isinstance(event, ev.UserMessage)
    assert event.content == blocks
    assert event.id.startswith("sevt_")


@pytest.mark.parametrize(
    ("content", "actual"),
    [(b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"),
     (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp")],
)  # fmt: skip
@pytest.mark.parametrize("declared", ["image/png", "image/jpeg", "image/gif", "image/webp"])
def test_a_picture_is_sent_as_what_it_is(declared: str, content: bytes, actual: str) -> None:
    """Case F09, for pictures of users."""
    data = base64.b64encode(content + bytes(100)).decode()
    (event,) = read(image(media_type=declared, data=data))
    assert isinstance(event, ev.UserMessage)
    assert event.content[0]["source"] == {"type": "base64", "media_type": actual, "data": data}


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (message({"type": "text", "text": ""}), "events[0].content[0].text: a text block must not be empty"),
        (message({"type": "text", "text": " \n"}), "must not be empty"),
        ({"type": "user.message", "content": []}, "events[0].content: must hold at least one block"),
        (message({"type": "text", "text": "a", "cache_control": {}}), "events[0].content[0]"),
        (message({"type": "text"}), "text"),
        (message({"type": "redacted"}), "made by the server only"),
        (message({"type": "video"}), "video"),
        (image(type="file"), "source"),
        (message({"type": "image", "source": {"type": "file", "file_id": "file_1"}}), "not available"),
        (document(type="file", file_id="file_1"), "not available"),
        (image(media_type="image/tiff"), "image/png"),
        (image(data="%%%"), "not valid base64"),
        (image(data=""), "must not be empty"),
        (image(data=PDF), "the content is none of image/png"),
        (image(data=base64.b64encode(b"BM").decode()), "the content is none of image/png"),
        (document(type="base64", media_type="application/pdf", data=PNG), "the content is none of application/pdf"),
        (image(data=base64.b64encode(bytes(MAX_IMAGE_BYTES + 1)).decode()), "scale it down"),
        (document(type="base64", media_type="text/html", data=PNG), "application/pdf"),
        (document(type="text", media_type="text/plain", data=""), "must not be empty"),
        (document(type="url", url="ftp://example.com/x"), "http or https"),
        (document(type="url", url="https://[::1"), "http or https"),
        (document(type="url", url="not a url"), "http or https"),
        (message(*[{"type": "text", "text": "a"}] * (MAX_BLOCKS + 1)), "at most 1000"),
        ({"type": "user.define_outcome", "description": "d", "rubric": {}}, "user.define_outcome events are not"),
        ({"type": "user.tool_result", "tool_use_id": "x"}, "user.tool_result events are not available"),
        ({"type": "system.message", "content": []}, "system.message events are not available"),
        ({"type": "agent.message", "content": []}, "agent.message"),
        ({"type": "user.interrupt", "what": 1}, "what"),
        ({"content": []}, "type"),
        ("text", "object"),
        ({**allow("x"), "deny_message": "no"}, "only allowed when `result` is `deny`"),
        ({**allow("x"), "result": "maybe"}, "result"),
        (result("x", content=[{"type": "text", "text": ""}]), "must not be empty"),
        (
            result("x", content=[{**SEARCH, "source": ""}]),
            "needs a `source`",
        ),
    ],
)  # fmt: skip
def test_what_the_model_could_not_be_shown_is_refused(event: Any, says: str) -> None:
    assert says in refused(event)


def test_a_request_holds_some_events_but_not_too_many() -> None:
    assert "at least one" in refused()
    assert "at most 100" in refused(*[message()] * (MAX_EVENTS + 1))
    assert len(read(*[message()] * MAX_EVENTS)) == MAX_EVENTS


def test_initial_events_are_messages_only() -> None:
    assert read(initial=True) == []
    assert "only `user.message`" in refused({"type": "user.interrupt"}, initial=True)
    assert "user.define_outcome events are not available in this version" in refused(
        {"type": "user.define_outcome"}, initial=True
    )
    assert "at most 50" in refused(*[message()] * (MAX_INITIAL_EVENTS + 1), initial=True)


def test_a_search_result_is_kept_as_sent() -> None:
    (event,) = read(result("x", content=[SEARCH]))
    assert isinstance(event, ev.UserCustomToolResult)
    assert event.content == [SEARCH]


# --- against the state of a session -------------------------------------------------------------------------------


def verdict(*events: Any, head: Head = HEAD, waiting: tuple[Any, ...] = (), answered: tuple[str, ...] = ()) -> str:
    try:
        check_against_head(
            head, read(*waiting) if waiting else [], read(*events), primary_thread="sthr_1", answered=answered
        )
    except ApiError as problem:
        return f"{problem.status} {problem.message}"
    return ""


def test_a_confirmation_needs_a_call_that_asks() -> None:
    assert verdict(allow("ask1")) == ""
    assert verdict({**allow("ask1"), "result": "deny", "deny_message": "no"}) == ""
    assert "not waiting for a confirmation" in verdict(allow("r1"))
    assert "no open tool call" in verdict(allow("gone"))


def test_a_call_is_confirmed_once_whether_in_one_request_or_while_the_first_still_waits() -> None:
    assert verdict(allow("ask1"), allow("ask1")).startswith("400 events[1].tool_use_id")
    assert verdict(allow("ask1"), waiting=(allow("ask1"),)).startswith("400 events[0].tool_use_id")


def test_a_custom_result_needs_a_custom_call_but_may_come_again() -> None:
    assert verdict(result("mine1")) == ""
    assert verdict(result("mine1"), result("mine1")) == ""
    assert verdict(result("mine1"), waiting=(result("mine1"),)) == ""
    assert verdict(result("old"), answered=("old",)) == ""
    assert "no custom tool call" in verdict(result("never"))
    assert "not answered by the client" in verdict(result("ask1"))
    assert closed_custom_calls(HEAD, read(result("mine1"), result("old"))) == ["old"]


def test_an_interrupt_may_name_the_primary_thread_only() -> None:
    assert verdict({"type": "user.interrupt"}) == ""
    assert verdict({"type": "user.interrupt", "session_thread_id": "sthr_1"}) == ""
    assert "no such thread" in verdict({"type": "user.interrupt", "session_thread_id": "sthr_2"})


def test_an_ended_session_takes_nothing() -> None:
    assert "archived" in verdict(message(), head=Head(archived=5))


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KINDS = ["user.message", "user.interrupt", "user.tool_confirmation", "user.custom_tool_result", "system.message", "x"]
NAMES = ["content", "tool_use_id", "custom_tool_use_id", "result", "deny_message", "session_thread_id", "is_error"]
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "document", "search_result", "redacted"])},
    optional={"text": TEXT, "source": JSON, "title": JSON, "content": JSON},
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={name: JSON | st.lists(BLOCK, max_size=2) for name in NAMES},
)


@given(st.lists(EVENT | JSON, max_size=4))
def test_nothing_but_a_problem_is_raised_whatever_is_sent(events: list[Any]) -> None:
    with contextlib.suppress(ApiError):
        check_against_head(HEAD, (), read(*events), answered=())


@given(st.binary(max_size=200))
def test_nothing_but_a_problem_is_raised_whatever_bytes_come(raw: bytes) -> None:
    with contextlib.suppress(ApiError):
        read_json(raw, Body)
