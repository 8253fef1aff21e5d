"""Cursors: what was given out comes back, and nothing else is taken."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.session.http import pagination
from holdfast.session.http.errors import ApiError

PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
LISTS = st.lists(PLAIN, max_size=5)


@given(position=LISTS, bound=LISTS)
def test_a_cursor_has_its_position(position: list[object], bound: list[object]) -> None:
    text = pagination.cursor(position, bound)
    assert text.startswith("page_")
    assert pagination.position(text, bound) == position


@given(position=LISTS, bound=LISTS, other=LISTS)
def test_a_cursor_of_another_list_is_refused(position: list[object], bound: list[object], other: list[object]) -> None:
    if repr(other) != repr(bound):
        with pytest.raises(ApiError):
            pagination.position(pagination.cursor(position, bound), other)


@given(data=st.data())
def test_a_changed_cursor_is_refused(data: st.DataObject) -> None:
    text = pagination.cursor(["agent_1"], ["agents"])
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=. \n"))
    changed = data.draw(
        st.sampled_from([text[:at], text[:at] + letter + text[at + 1 :], text[:at] + letter + text[at:]])
    )
    if changed != text:
        with pytest.raises(ApiError):
            pagination.position(changed, ["agents"])


@given(text=st.text())
def test_any_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(ApiError) as wrong:
        pagination.position("page_" + text, [])
    assert wrong.value.status == 400


def test_a_position_of_the_wrong_type_is_refused() -> None:
    query = pagination.PageQuery(page=pagination.cursor(["text"], ["list"]))
    assert pagination.position_of(query, ["list"], str) == "text"
    with pytest.raises(ApiError):
        pagination.position_of(query, ["list"], int)
    assert pagination.position_of(pagination.PageQuery(), ["list"], int) is None
    assert msgspec.json.encode(pagination.page([1], None, [])) == b'{"data":[1],"next_page":null}'
