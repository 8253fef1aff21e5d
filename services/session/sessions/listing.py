"""The list of sessions: its filters, its order, and the cursors to the pages on both sides. Pure."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from holdfast.session.http import pagination
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.http.timestamps import Instant

Direction = Literal[1, -1]
"""1: the page behind a position of the list, -1: the page before it."""

Condition = tuple[str, Sequence[Any]]
"""SQL over the columns of the read model's table of sessions, with its values."""


class ListPosition(NamedTuple):
    """The end of a page: the session there is named by its creation (microseconds since 1970) and its id."""

    direction: Direction
    created_at: int
    session_id: str


class SessionsQuery(pagination.PageQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list. Archived sessions are left out unless asked for, also by `statuses[]=terminated`."""

    agent_id: str | None = None
    agent_version: int | None = None
    """Counts only together with `agent_id`."""
    after: Instant | None = msgspec.field(name="created_at[gt]", default=None)
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    before: Instant | None = msgspec.field(name="created_at[lt]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)
    deployment_id: str | None = None
    memory_store_id: str | None = None
    include_archived: bool = False
    order: Literal["asc", "desc"] = "desc"
    statuses: tuple[Literal["rescheduling", "running", "idle", "terminated"], ...] = ()

    def check_available(self) -> None:
        """Raise ApiError 400 for a filter of the API that this version does not have."""
        if self.deployment_id is not None:
            raise not_available("deployment_id: deployments are")
        if self.memory_store_id is not None:
            raise not_available("memory_store_id: memory stores are")

    def cursor_scope(self, tenant: str) -> list[Any]:
        """The list that a cursor belongs to: its tenant, order and filters."""
        filters = msgspec.structs.replace(self, page=None, limit=pagination.DEFAULT_LIMIT)
        return ["sessions", tenant, msgspec.to_builtins(filters, enc_hook=int)]

    def position(self, tenant: str) -> ListPosition | None:
        """Where the cursor points; None for the first page. Raises ApiError 400 for a cursor of another list."""
        if self.page is None:
            return None
        match pagination.position(self.page, self.cursor_scope(tenant)):
            case [1 | -1 as direction, int(created_at), str(session_id)]:
                return ListPosition(direction, created_at, session_id)
            case _:
                raise invalid("page: not a cursor of this list")

    def ascending(self, position: ListPosition | None) -> bool:
        """The order in which the rows of the page are read: the opposite one for the page before a position."""
        return (self.order == "asc") == (position is None or position.direction == 1)

    def conditions(self, tenant: str, position: ListPosition | None) -> list[Condition]:
        """The tenant, the filters and the position as conditions of the read model."""
        found: list[Condition] = [("tenant = ?", [tenant])]
        if self.agent_id is not None:
            found.append(("agent = ?", [self.agent_id]))
            if self.agent_version is not None:
                found.append(("version = ?", [self.agent_version]))
        for sign, at in ((">", self.after), (">=", self.since), ("<", self.before), ("<=", self.until)):
            if at is not None:
                found.append((f"created {sign} ?", [int(at)]))
        if self.statuses:
            found.append((f"status IN ({','.join('?' * len(self.statuses))})", list(self.statuses)))
        if not self.include_archived and "terminated" not in self.statuses:
            found.append(("archived = 0", []))
        if position is not None:
            sign = ">" if self.ascending(position) else "<"
            found.append((f"(created, id) {sign} (?, ?)", [position.created_at, position.session_id]))
        return found


def neighbours(position: ListPosition | None, *, rows: int, has_more: bool) -> tuple[bool, bool]:
    """Whether there is a page behind and a page before one of `rows` sessions that was read from `position`.

    `has_more`: there are further sessions in the direction of reading.
    """
    if position is None:
        return has_more, False
    if position.direction == 1:
        return has_more, rows > 0
    return rows > 0, has_more
