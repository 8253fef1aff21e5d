"""The list of a session's events: its filters, and the page that they select."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.bus.ids import Key
from holdfast.session.http import pagination
from holdfast.session.http.errors import invalid
from holdfast.session.http.timestamps import Instant
from holdfast.session.log.history import backwards, forwards
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.schema import VISIBLE_TYPES, EventPage
from holdfast.session.log.serialize import START, Position, VisibleEvent, event_to_api, parse_position

MAX_PAGE_EVENTS: Final = 1_000
"""Events of a page, and as many without `limit`."""

MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
"""Encoded size of its events, in bytes, above which a page ends early."""

_UNAVAILABLE_TYPES: Final = frozenset(
    {
        "agent.mcp_tool_use", "agent.mcp_tool_result", "agent.thread_message_received", "agent.thread_message_sent",
        "session.thread_created", "span.outcome_evaluation_start", "span.outcome_evaluation_end",
        "span.outcome_evaluation_ongoing", "user.define_outcome", "user.tool_result", "system.message",
        "workflow_run.created", "workflow_run.status_running", "workflow_run.status_idle", "workflow_run.status_ended",
        "workflow_run.error", "workflow_run.phase_started", "workflow_run.phase_ended",
    }
)  # fmt: skip
"""Event types of the API that no session of this version has: a filter may name them, and finds nothing."""


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list; times compare with `processed_at`."""

    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_EVENTS)] = MAX_PAGE_EVENTS
    page: str | None = None
    order: Literal["asc", "desc"] = "asc"
    types: list[str] = []
    after: Instant | None = msgspec.field(name="created_at[gt]", default=None)
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    before: Instant | None = msgspec.field(name="created_at[lt]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)

    def check_types(self) -> None:
        """Raise ApiError 400 for a type that the API does not have."""
        for type_ in self.types:
            if type_ not in VISIBLE_TYPES and type_ not in _UNAVAILABLE_TYPES:
                raise invalid(f"types: {type_[:80]!r} is no type of event")

    def cursor_scope(self, key: Key) -> list[Any]:
        """The list that a cursor belongs to: its session, order and filters."""
        filters = msgspec.structs.replace(self, page=None, limit=MAX_PAGE_EVENTS)
        return ["events", key.tenant, key.session, msgspec.to_builtins(filters, enc_hook=int)]

    def position(self, key: Key) -> Position | None:
        """Where the cursor points; None for the first page. Raises ApiError 400 for a cursor of another list."""
        if self.page is None:
            return None
        match pagination.position(self.page, self.cursor_scope(key)):
            case [str(text)] if position := parse_position(text):
                return position
            case _:
                raise invalid("page: not a cursor of this list")

    @property
    def earliest(self) -> int | None:
        """The earliest time that is wanted, in microseconds since 1970."""
        found = [int(at) + more for at, more in ((self.after, 1), (self.since, 0)) if at is not None]
        return max(found, default=None)

    @property
    def latest(self) -> int | None:
        """The latest time that is wanted, in microseconds since 1970."""
        found = [int(at) - less for at, less in ((self.before, 1), (self.until, 0)) if at is not None]
        return min(found, default=None)


async def list_page(sessions: SessionRepository, key: Key, query: EventsQuery) -> Any:
    """The page that the query selects, an EventPage. Raises ApiError 400 and 404, BusError."""
    query.check_types()
    position = query.position(key)
    last = await sessions.last_commit(key)
    types = frozenset(query.types)
    data: list[msgspec.Raw] = []
    size_bytes = 0
    async with aclosing(_select(sessions, key, query, last.seq, position)) as selected:
        async for event in selected:
            if types and event.type not in types:
                continue
            if len(data) == query.limit or size_bytes > MAX_PAGE_BYTES:
                return EventPage(data=data, next_page=pagination.cursor([str(position)], query.cursor_scope(key)))
            data.append(msgspec.Raw(msgspec.json.encode(event_to_api(event.event, event.processed_at))))
            size_bytes += len(data[-1])
            position = event.position
    return EventPage(data=data, next_page=None)


async def _select(
    sessions: SessionRepository, key: Key, query: EventsQuery, end: int, position: Position | None
) -> AsyncGenerator[VisibleEvent]:
    """The events behind `position` in the order of the query that lie in its times. `end`: the last commit."""
    earliest, latest = query.earliest, query.latest
    ascending = query.order == "asc"
    if ascending:
        if position is None and earliest is not None:
            position = Position(sessions.read_model.queries.last_before(key, earliest) + 1, -1)
        source = forwards(sessions, key, position or START)
    else:
        source = backwards(sessions, key, end, position)
    async with aclosing(source) as events:
        async for event in events:
            too_early = earliest is not None and event.processed_at < earliest
            too_late = latest is not None and event.processed_at > latest
            if too_late if ascending else too_early:
                return
            if not too_early and not too_late:
                yield event
