"""Bodies and query strings, read into what a route declares."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from holdfast.session.agents.tools import MAX_TOOLS
from holdfast.session.events.content import MAX_BLOCKS
from holdfast.session.events.validation import MAX_EVENTS
from holdfast.session.http.decoding import MAX_NESTING_LEVELS, MAX_VALUES, read_json, read_query
from holdfast.session.http.errors import ApiError
from holdfast.session.http.timestamps import Instant


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(max_length=3)]
    inner: list[dict[str, int]] = []
    free: Any = None


class Query(msgspec.Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    archived: bool = False
    statuses: list[str] | None = None
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)


def refused(read: Any, *args: Any) -> str:
    with pytest.raises(ApiError) as wrong:
        read(*args)
    assert wrong.value.status == 400
    return wrong.value.message


def test_a_refusal_begins_with_the_field() -> None:
    assert refused(read_json, b'{"name":"long"}', Body).startswith("name: ")
    assert refused(read_json, b'{"name":"n","inner":[{"a":"b"}]}', Body).startswith("inner[0][...]: ")
    assert "`x`" in refused(read_json, b'{"name":"n","x":1}', Body)
    assert "`name`" in refused(read_json, b"{}", Body)


def test_nul_is_refused_wherever_it_stands_but_not_its_spelling() -> None:
    for body in (b'{"name":"a\\u0000"}', b'{"name":"n","free":{"a\\u0000":1}}', b'{"name":"n","free":[[["\\u0000"]]]}'):
        assert "NUL" in refused(read_json, body, Body)
    assert read_json(rb'{"name":"n","free":"\\u0000"}', Body).free == r"\u0000"
    assert read_json(rb'{"name":"n","free":"\\\\u0000"}', Body).free == r"\\u0000"
    assert "NUL" in refused(read_json, rb'{"name":"n","free":"\\\u0000"}', Body)


def test_nesting_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"name":"n","free":' + b"[" * depth + b"]" * depth + b"}"

    assert read_json(nested(MAX_NESTING_LEVELS - 2), Body)
    for depth in (MAX_NESTING_LEVELS + 1, 900, 5_000, 100_000):
        assert "levels deep" in refused(read_json, nested(depth), Body)
    assert read_json(b'{"name":"n","free":[' + b"{},".join([b""] * 500) + b"{}]}", Body)


def test_what_stands_in_texts_does_not_count() -> None:
    text = "[" * 200 + r"\"[{,:\\" * (MAX_VALUES // 2)
    assert read_json(b'{"name":"n","free":[%s"%s"]}' % (b"[]," * 200, text.encode()), Body).free[-1]
    balanced = b"[" + b'"]",[' * 150 + b"]" * 151  # each bracket has a partner in a text
    assert "levels deep" in refused(read_json, b'{"name":"n","free":%s}' % balanced, Body)
    escaped = b"[" + rb'"\\",["]\"]",[' * 75 + b"]" * 151
    assert "levels deep" in refused(read_json, b'{"name":"n","free":%s}' % escaped, Body)


@pytest.mark.parametrize(
    ("one", "values"),
    [(b"0,", 1), (b'"",', 1), (b"[],", 2), (b'{"":0},', 3)],
    ids=["numbers", "texts", "lists", "objects"],
)
def test_the_number_of_values_is_bounded(one: bytes, values: int) -> None:
    def body(count: int) -> bytes:
        return b'{"name":"n","free":[%s0]}' % (one * count)

    around = 5  # two names, two values and the last item
    most = (MAX_VALUES - around) // values
    assert len(read_json(body(most), Body).free) == most + 1
    assert "values" in refused(read_json, body(most + 1), Body)


def test_the_largest_requests_of_the_api_are_read() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    block = {"type": "document", "source": source, "title": "t", "context": "c", "citations": {"enabled": True}}
    event = msgspec.json.encode({"type": "user.message", "content": [block] * MAX_BLOCKS})
    assert read_json(b'{"events":[%s]}' % b",".join([event] * MAX_EVENTS), Any)
    described = {"type": "string", "description": "d" * 100, "enum": ["one", "two", "three"]}
    properties = {f"property_{number}": described for number in range(500)}
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    tool = {"type": "custom", "name": "t", "description": "d", "input_schema": schema}
    agent = {"name": "n", "model": "m", "tools": [tool] * MAX_TOOLS}
    assert len(read_json(msgspec.json.encode(agent), Any)["tools"]) == MAX_TOOLS
    assert read_json(b'{"text":"%s"}' % (b"[1,2]: " * (25 * 1024 * 1024 // 7)), Any)


def test_an_unterminated_text_of_escapes_takes_one_pass() -> None:
    raw = b'{"name":"n","free":[' + b"[]," * 200 + b'"' + rb"\"" * 1_000_000
    assert "valid JSON" in refused(read_json, raw, Body)  # each escaped quote tried as a beginning would take hours


TEXTS = st.text(alphabet='\\"u0\0[]{},:', max_size=9)
JSON = st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner))


def texts_of(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, inner in cast("dict[str, Any]", value).items():
                yield name
                yield from texts_of(inner)
        case _:
            for inner in cast("list[Any]", value):
                yield from texts_of(inner)


@given(value=JSON)
def test_no_text_is_taken_for_structure_or_for_another_text(value: Any) -> None:
    body = {"value": value, "many": [[]] * (MAX_NESTING_LEVELS + 1)}  # so that the structure is looked at
    raw = msgspec.json.encode(body)
    if any("\0" in text for text in texts_of(value)):
        assert "NUL" in refused(read_json, raw, Any)
    else:
        assert read_json(raw, Any) == body


@given(raw=st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with suppress(ApiError):
        read_json(raw, Body)


def test_a_query_takes_brackets_or_not() -> None:
    both = [("statuses[]", "a"), ("statuses", "b"), ("created_at[gte]", "2026-01-01T00:00:00Z"), ("beta", "true")]
    found = read_query(both, Query)
    assert found.statuses == ["a", "b"]
    assert found.since == 1_767_225_600_000_000
    assert read_query([("limit", "7"), ("archived", "true")], Query) == Query(limit=7, archived=True)


@pytest.mark.parametrize(
    "pairs",
    [
        [("limit", "1"), ("limit", "2")],
        [("limit", "0")],
        [("limit", "")],
        [("archived", "perhaps")],
        [("colour", "red")],
        [("created_at", "2026-01-01")],
        [("created_at[gte]", "soon")],
        [("statuses[]", "a\0b")],
    ],
)
def test_a_wrong_query_is_refused(pairs: list[tuple[str, str]]) -> None:
    refused(read_query, pairs, Query)


@given(
    pairs=st.lists(st.tuples(st.sampled_from(["limit", "archived", "statuses[]", "created_at[gte]", "x"]), st.text()))
)
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with suppress(ApiError):
        read_query(pairs, Query)
