"""The list of sessions: cursors lead to the pages on both sides, in either order."""

import pytest
from msgspec.structs import replace

from holdfast.session.http import pagination
from holdfast.session.http.errors import ApiError
from holdfast.session.sessions.listing import Direction, SessionsQuery, neighbours


def at(query: SessionsQuery, direction: Direction) -> SessionsQuery:
    return replace(query, page=pagination.cursor([direction, 5, "s5"], query.cursor_scope("t")))


@pytest.mark.parametrize(
    ("order", "direction", "ascending"), [("asc", 1, True), ("asc", -1, False), ("desc", 1, False), ("desc", -1, True)]
)
def test_a_page_before_a_position_is_read_the_other_way(order: str, direction: Direction, ascending: bool) -> None:
    query = at(SessionsQuery(order=order), direction)  # type: ignore[arg-type]
    position = query.position("t")
    assert position == (direction, 5, "s5")
    assert query.ascending(position) == ascending
    sql, values = query.conditions("t", position)[-1]
    assert (sql, list(values)) == (f"(created, id) {'>' if ascending else '<'} (?, ?)", [5, "s5"])


def test_a_cursor_belongs_to_one_tenant_order_and_filter() -> None:
    query = at(SessionsQuery(agent_id="a"), 1)
    assert query.position("t")
    assert replace(query, limit=3).position("t"), "the limit may change"
    for other in (replace(query, order="asc"), replace(query, agent_id="b"), replace(query, include_archived=True)):
        with pytest.raises(ApiError, match="page"):
            other.position("t")
    with pytest.raises(ApiError, match="page"):
        query.position("other")


def test_archived_sessions_are_listed_when_they_are_asked_for() -> None:
    def leaves_out(query: SessionsQuery) -> bool:
        return ("archived = 0", []) in query.conditions("t", None)

    assert leaves_out(SessionsQuery())
    assert leaves_out(SessionsQuery(statuses=("idle", "running")))
    assert not leaves_out(SessionsQuery(statuses=("terminated",)))
    assert not leaves_out(SessionsQuery(include_archived=True))


@pytest.mark.parametrize(
    ("direction", "rows", "has_more", "behind_and_before"),
    [
        (None, 3, True, (True, False)),
        (None, 3, False, (False, False)),
        (1, 3, True, (True, True)),
        (1, 3, False, (False, True)),
        (1, 0, False, (False, False)),
        (-1, 3, True, (True, True)),
        (-1, 3, False, (True, False)),
        (-1, 0, False, (False, False)),
    ],
)
def test_which_pages_there_are_beside_one(
    direction: Direction | None, rows: int, has_more: bool, behind_and_before: tuple[bool, bool]
) -> None:
    position = at(SessionsQuery(), direction).position("t") if direction else None
    assert neighbours(position, rows=rows, has_more=has_more) == behind_and_before
