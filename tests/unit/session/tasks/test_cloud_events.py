"""CloudEvents: both modes give the same event, and every mistake is told with the attribute that has it."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.session.tasks.event import TaskEvent
from holdfast.session.tasks.parse import parse
from holdfast.session.tasks.rejection import Rejected

EVENT = {"specversion": "1.0", "id": "A234-1234", "source": "/shop/berlin", "type": "com.example.order"}
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}

ATTRIBUTE = st.text(
    st.characters(exclude_categories=("Cc", "Cs")),  # control characters and half surrogates are not allowed
    min_size=1, max_size=40,
)  # fmt: skip


def structured(headers: dict[str, str] | None = None, /, **fields: Any) -> TaskEvent:
    event = {name: value for name, value in {**EVENT, **fields}.items() if value is not ...}
    return parse(STRUCTURED if headers is None else headers, json.dumps(event).encode())


def binary(body: bytes = b"{}", content_type: str = "application/json", /, **attributes: Any) -> TaskEvent:
    headers = {f"ce-{name}": value for name, value in {**EVENT, **attributes}.items() if value is not ...}
    return parse(headers | ({"Content-Type": content_type} if content_type else {}), body)


def test_the_two_modes_and_a_message_without_headers_are_the_same_event() -> None:
    data = {"order": 17, "items": ["a", None]}
    event = structured(data=data, datacontenttype="application/json", subject="s", time="2026-11-27T09:30:00Z")
    assert event.data == data
    assert event.attributes == {
        **EVENT, "subject": "s", "time": "2026-11-27T09:30:00Z", "datacontenttype": "application/json",
    }  # fmt: skip
    assert event == binary(json.dumps(data).encode(), subject="s", time="2026-11-27T09:30:00Z")
    bare = structured({}, data=data, datacontenttype="application/json", subject="s", time="2026-11-27T09:30:00Z")
    assert event == bare


def test_headers_have_any_case() -> None:
    headers = {f"CE-{name.title()}": value for name, value in EVENT.items()} | {"CONTENT-TYPE": "application/json"}
    assert parse(headers, b"[1]").attributes["source"] == "/shop/berlin"


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type"])
def test_a_required_attribute_that_is_missing_is_named(name: str) -> None:
    for absent in (..., None):
        with pytest.raises(Rejected, match=rf"^{name}: a CloudEvent must have") as rejected:
            structured(**{name: absent})
        assert rejected.value.reason == "malformed"
    with pytest.raises(Rejected, match=rf"^{name}: must not be empty"):
        structured(**{name: ""})
    with pytest.raises(Rejected, match=rf"^{name}: must be a text"):
        structured(**{name: 5})
    with pytest.raises(Rejected, match=rf"^{name}: a CloudEvent must have"):
        binary(**{name: ...})
    with pytest.raises(Rejected, match=rf"^{name}: must not be empty"):
        binary(**{name: ""})


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("specversion", "0.3", "specversion: only 1.0"),
        ("time", "yesterday", "time: must be an RFC 3339 time"),
        ("time", "2026-11-27", "time: must be an RFC 3339 time"),
        ("time", "2026-11-27T09:30:00", "time: must be an RFC 3339 time"),
        ("time", "2026-13-27T09:30:00Z", "time: must be an RFC 3339 time"),
        ("subject", "", "subject: must not be empty"),
        ("dataschema", "", "dataschema: must not be empty"),
        ("datacontenttype", "json", "datacontenttype: must be a media type"),
        ("subject", "a\nb", "subject: must not contain control characters"),
        ("myext", {"a": 1}, "myext: must be a text, a boolean or an integer"),
        ("myext", 1.5, "myext: must be a text, a boolean or an integer"),
        ("myext", 1 << 31, "myext: must be a text, a boolean or an integer"),
        ("my_ext", "x", "my_ext: the name of an attribute"),
        ("myExt", "x", "myExt: the name of an attribute"),
    ],
)
def test_a_wrong_attribute_is_named(attribute: str, value: Any, message: str) -> None:
    with pytest.raises(Rejected, match=f"^{message}"):
        structured(**{attribute: value})


def test_extensions_are_texts_and_null_is_absent() -> None:
    attributes = structured(flag=True, count=-7, word="w", nothing=None).attributes
    assert (attributes["flag"], attributes["count"], attributes["word"]) == ("true", "-7", "w")
    assert "nothing" not in attributes


def test_a_time_may_have_an_offset_and_any_fraction() -> None:
    for time in ("2026-11-27T09:30:00+01:00", "2026-11-27t09:30:00z", "2026-11-27T09:30:00.123456789012Z"):
        assert structured(time=time).attributes["time"] == time


# --- data ----------------------------------------------------------------------------------------------------------


def test_data_in_base64_is_decoded_by_its_content_type() -> None:
    encoded = base64.b64encode(b'{"a": 1}').decode()
    assert structured(data_base64=encoded).data == {"a": 1}
    assert structured(data_base64=encoded, datacontenttype="text/plain").data == '{"a": 1}'
    with pytest.raises(Rejected, match=r"^data_base64: its content type is neither JSON nor text"):
        structured(data_base64=encoded, datacontenttype="image/png")
    for wrong in ("a", "ä", "e+/-", 5):
        with pytest.raises(Rejected, match=r"^data_base64: (is not base64|must be a text)"):
            structured(data_base64=wrong)
    with pytest.raises(Rejected, match=r"^data_base64: `data` is given too"):
        structured(data_base64=encoded, data={})


def test_data_may_be_text_or_missing() -> None:
    assert structured(data="<a/>", datacontenttype="application/xml").data == "<a/>"
    assert structured().data is None
    assert binary(b"").data is None
    assert binary("grüß".encode(), "text/plain; charset=utf-8").data == "grüß"
    assert binary(b'{"a": 1}', "application/vnd.github+json").data == {"a": 1}
    assert binary(b"[1]", "").data == [1]


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"{", "application/json", "data is not valid JSON"),
        (b"x", "image/png", "data: its content type is neither"),
        (b"\xff", "text/plain", "data is not text in UTF-8"),
        (b"a\0b", "text/plain", "data contains the character NUL"),
        (rb'"\u0000"', "application/json", "data contains the character NUL"),
        (rb'"\ud800"', "application/json", "data is not valid JSON"),
        (b"x", "text/plain; charset=latin-1", "data: the charset"),
        (b"[" * 200 + b"]" * 200, "application/json", "data is nested more than"),
    ],
)
def test_data_that_no_message_can_hold_is_refused(body: bytes, content_type: str, message: str) -> None:
    with pytest.raises(Rejected, match=f"^{message}"):
        binary(body, content_type)


# --- headers -------------------------------------------------------------------------------------------------------


def test_the_example_of_the_http_binding() -> None:
    assert binary(subject="Euro%20%E2%82%AC%20%F0%9F%98%80").attributes["subject"] == "Euro € 😀"
    assert binary(subject=r'"a \"quoted\" %e2%82%ac"').attributes["subject"] == 'a "quoted" €'
    assert binary(subject="100%25").attributes["subject"] == "100%"


@pytest.mark.parametrize("value", ["%C0%A0", "%FF"])
def test_percent_encoding_that_is_no_utf_8_is_refused(value: str) -> None:
    with pytest.raises(Rejected, match=r"^subject: its percent-encoding is not UTF-8"):
        binary(subject=value)


@pytest.mark.parametrize("value", ["100%", "%zz", "%0"])
def test_a_percent_sign_alone_is_refused(value: str) -> None:
    with pytest.raises(Rejected, match=r"^subject: `%` must be followed"):
        binary(subject=value)


def test_what_the_body_says_must_not_be_a_header() -> None:
    for name in ("datacontenttype", "data"):
        with pytest.raises(Rejected, match=rf"^{name}: must not be a header"):
            binary(**{name: "application/json"})


@given(source=ATTRIBUTE, subject=ATTRIBUTE)
def test_any_text_survives_both_modes(source: str, subject: str) -> None:
    encoded = {"source": quote(source, safe=""), "subject": quote(subject, safe="")}
    assert binary(b"1", "application/json", **encoded) == structured(
        data=1, source=source, subject=subject, datacontenttype="application/json"
    )


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_value_as_an_attribute_is_taken_or_refused(value: Any) -> None:
    try:
        event = structured(subject=value, myext=value)
    except Rejected:
        return
    assert isinstance(event.attributes.get("subject", ""), str)
