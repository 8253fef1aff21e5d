"""The list of a session's events: its filters, and the page that they select.

Events that are queued stand behind those of the log, with `processed_at` null. Between two pages a queued event may be
taken into the log. So a cursor that points at one also names it: all events of clients up to it have been shown.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.session.events.queued import Queue, QueuedEvent, read_queue
from holdfast.session.http import pagination
from holdfast.session.http.errors import invalid
from holdfast.session.http.timestamps import Instant
from holdfast.session.log.history import backwards, find_position, forwards
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


class Place(NamedTuple):
    """Where a page ends: at an event of the log, and at a queued one if some were shown."""

    position: Position | None = None
    queued: str = ""
    """Id of the last queued event that was shown."""

    def to_cursor(self) -> list[str]:
        position = str(self.position) if self.position else ""
        return [position, self.queued] if self.queued else [position]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list; times compare with `processed_at`, which events that are queued do not have."""

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

    def place(self, key: Key) -> Place:
        """Where the cursor points. Raises ApiError 400 for a cursor of another list."""
        if self.page is None:
            return Place()
        match pagination.position(self.page, self.cursor_scope(key)):
            case [str(text)] if position := parse_position(text):
                return Place(position)
            case [str(text), str(queued)]:
                return Place(parse_position(text), queued)
            case _:
                raise invalid("page: not a cursor of this list")

    def keeps(self, type_: str) -> bool:
        """Whether events of that type are listed."""
        return not self.types or type_ in self.types

    @property
    def has_times(self) -> bool:
        """Whether only events of some time are wanted. Queued events have none."""
        return self.earliest is not None or self.latest is not None

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
    place = query.place(key)
    select = _oldest_first if query.order == "asc" else _newest_first
    data: list[msgspec.Raw] = []
    size_bytes = 0
    async with aclosing(select(sessions, key, query, place)) as selected:
        async for event, at in selected:
            if len(data) == query.limit or size_bytes > MAX_PAGE_BYTES:
                return EventPage(data=data, next_page=pagination.cursor(place.to_cursor(), query.cursor_scope(key)))
            data.append(msgspec.Raw(event.data if isinstance(event, QueuedEvent) else _encoded(event)))
            size_bytes += len(data[-1])
            place = at
    return EventPage(data=data, next_page=None)


def _encoded(event: VisibleEvent) -> bytes:
    return msgspec.json.encode(event_to_api(event.event, event.processed_at))


async def _oldest_first(
    sessions: SessionRepository, key: Key, query: EventsQuery, place: Place
) -> AsyncGenerator[tuple[VisibleEvent | QueuedEvent, Place]]:
    """The events behind `place`: those of the log, then those that are queued."""
    earliest, latest = query.earliest, query.latest
    position, shown = place.position, place.queued
    if position is None and earliest is not None:
        position = Position(sessions.read_model.queries.last_before(key, earliest) + 1, -1)
    position = position or START
    last: Stored | None = await sessions.last_commit(key)
    queue: Queue | None = None
    while last is not None:
        reading = forwards(sessions, key, position, first=query.limit + 1, end=last.seq)
        async with aclosing(reading) as events:
            async for event in events:
                position = event.position
                if shown and isinstance(event.event, ev.ClientEvent):
                    # It was shown while it was queued, as were all events of clients before it.
                    shown = "" if event.event.id == shown else shown
                    continue
                if latest is not None and event.processed_at > latest:
                    return
                if query.keeps(event.type) and (earliest is None or event.processed_at >= earliest):
                    yield event, Place(position, shown)
        if queue is not None or query.has_times:
            break
        queue = await read_queue(sessions, key, last, query.keeps)
        last = queue.last if queue.last.seq > last.seq else None
    for queued in queue.behind(shown) if queue else []:
        yield queued, Place(position, queued.id)


async def _newest_first(
    sessions: SessionRepository, key: Key, query: EventsQuery, place: Place
) -> AsyncGenerator[tuple[VisibleEvent | QueuedEvent, Place]]:
    """The events before `place`: those that are queued, then those of the log."""
    earliest, latest = query.earliest, query.latest
    before, last = place.position, await sessions.last_commit(key)
    if before is None and not query.has_times:
        queue = await read_queue(sessions, key, last, query.keeps)
        last = queue.last
        queued = queue.before(place.queued)
        if queued is None:  # the last one that was shown is taken: go on before it in the log
            before = await find_position(sessions, key, place.queued)
        for one in reversed(queued or []):
            yield one, Place(None, one.id)
    async with aclosing(backwards(sessions, key, last.seq, before, first=query.limit + 1)) as events:
        async for event in events:
            if earliest is not None and event.processed_at < earliest:
                return
            if query.keeps(event.type) and (latest is None or event.processed_at <= latest):
                yield event, Place(event.position)
