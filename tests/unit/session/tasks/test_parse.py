"""Which form a task has, and what names it."""

import json

import pytest

from holdfast.session.tasks.parse import MAX_TASK_BYTES, parse
from holdfast.session.tasks.rejection import Rejected

EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
JSON = {"content-type": "application/json"}


def test_plain_json_is_its_own_data() -> None:
    for headers in ({}, JSON, {"Content-Type": "application/vnd.api+json; charset=utf-8"}):
        event = parse(headers, b'{"a": [1, "x"]}', name="17")
        assert (event.data, event.attributes) == ({"a": [1, "x"]}, {})
        assert event.name
    assert parse({}, b"3").name == ""


def test_an_object_of_a_declared_type_is_no_cloud_event_by_accident() -> None:
    body = json.dumps({**EVENT, "data": 1}).encode()
    assert parse(JSON, body).data == {**EVENT, "data": 1}
    assert parse({}, body).data == 1
    assert parse({}, json.dumps({"id": "1", "type": "t"}).encode()).data == {"id": "1", "type": "t"}


def test_a_cloud_event_is_named_by_its_source_and_id() -> None:
    def name(**fields: str) -> str:
        return parse({}, json.dumps({**EVENT, **fields}).encode(), name="17").name

    assert name() == name(type="other", subject="s")
    assert len({name(), name(id="2"), name(source="/2"), name(source='/s","1'), parse({}, b"1", name="17").name}) == 5


@pytest.mark.parametrize(
    ("headers", "body", "message"),
    [
        ({}, b"", "the task is not valid JSON"),
        ({}, b"\xff", "the task is not valid JSON"),
        ({}, b"NaN", "the task is not valid JSON"),
        ({}, rb'{"a": "\u0000"}', "the task contains the character NUL"),
        ({}, rb'{"\ud800": 1}', "the task is not valid JSON"),
        ({}, b"[" * 5000, "the task is nested more than"),
        ({}, b"1" * (MAX_TASK_BYTES + 1), "the task is larger than"),
        ({"content-type": "text/plain"}, b"x", "content-type: must be JSON"),
        ({"content-type": "application/x-www-form-urlencoded"}, b"payload=x", "content-type: a form"),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]", "content-type: of CloudEvents only single"),
        ({"content-type": "application/cloudevents+avro"}, b"x", "content-type: of CloudEvents only single"),
        ({"content-type": "application/cloudevents+json"}, b"[]", "the CloudEvent must be a JSON object"),
        ({"content-type": "application/cloudevents+json"}, b"{", "the CloudEvent is not valid JSON"),
    ],
)
def test_what_is_no_task_is_refused_with_the_cause(headers: dict[str, str], body: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=f"^{message}") as rejected:
        parse(headers, body)
    assert rejected.value.reason == "malformed"


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parse({}, rb'"\ud83d\ude00"').data == "😀"


def test_an_integer_that_could_not_be_shown_again_is_refused() -> None:
    assert parse({}, b"[18446744073709551615, -9223372036854775808]").data == [2**64 - 1, -(2**63)]
    assert parse({}, b'"12345678901234567890123"').data == "12345678901234567890123"
    for integer in (b"18446744073709551616", b"-9223372036854775809"):
        with pytest.raises(Rejected, match=r"^the task contains an integer of more than 64 bits"):
            parse({}, b'{"a": [' + integer + b"]}")
