"""`/v1/sessions/{id}/events`: send and list. A request's events become one input, taken whole or refused whole."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import ClientInput
from holdfast.process.faults import point
from holdfast.session.events.validation import Sent, check, events_of, names_calls, unopened
from holdfast.session.http import pagination
from holdfast.session.http.errors import invalid
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import Instant
from holdfast.session.log.history import backwards, forwards
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import SHOWN_TYPES, START, Position, Shown, event_object, parse_position

MOST: Final = 1_000
"""Events of a page, and as many without `limit`."""

PAGE_BYTES: Final = 16 * 1024 * 1024
"""Encoded size at which a page ends early."""

_LATER_TYPES: Final = frozenset(
    {
        "agent.mcp_tool_use", "agent.mcp_tool_result", "agent.thread_message_received", "agent.thread_message_sent",
        "session.thread_created", "span.outcome_evaluation_start", "span.outcome_evaluation_end",
        "span.outcome_evaluation_ongoing", "user.define_outcome", "user.tool_result", "system.message",
        "workflow_run.created", "workflow_run.status_running", "workflow_run.status_idle", "workflow_run.status_ended",
        "workflow_run.error", "workflow_run.phase_started", "workflow_run.phase_ended",
    }
)  # fmt: skip
"""Types of the API that no session of this version has; asking for them is right and finds nothing."""


class EventsSend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions/{session_id}/events`."""

    events: list[Sent]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters of the list; times compare with `processed_at`."""

    limit: Annotated[int, Meta(ge=1, le=MOST)] = MOST
    page: str | None = None
    order: Literal["asc", "desc"] = "asc"
    types: list[str] = []
    after: Instant | None = msgspec.field(name="created_at[gt]", default=None)
    since: Instant | None = msgspec.field(name="created_at[gte]", default=None)
    before: Instant | None = msgspec.field(name="created_at[lt]", default=None)
    until: Instant | None = msgspec.field(name="created_at[lte]", default=None)

    def bound(self, key: Key) -> list[Any]:
        """What a cursor of this list belongs to."""
        filters = msgspec.structs.replace(self, page=None, limit=MOST)
        return ["events", key.tenant, key.session, msgspec.to_builtins(filters, enc_hook=int)]

    @property
    def first(self) -> int | None:
        """The earliest time that is wanted."""
        found = [int(at) + more for at, more in ((self.after, 1), (self.since, 0)) if at is not None]
        return max(found, default=None)

    @property
    def last(self) -> int | None:
        """The latest time that is wanted."""
        found = [int(at) - less for at, less in ((self.before, 1), (self.until, 0)) if at is not None]
        return min(found, default=None)


def routes(ledger: SessionRepository) -> list[Route]:
    async def send(call: Call) -> Any:
        """Send events to a session. They are stored before the answer, and taken by the agent in order."""
        key = ledger.key(call.tenant, call.id("session_id"))
        return {"data": await _send(ledger, key, events_of(call.body.events))}

    async def list_events(call: Call) -> Any:
        """List the events of a session by time, oldest first unless `order` says otherwise."""
        key = ledger.key(call.tenant, call.id("session_id"))
        ledger.unseen.seen(key)
        return await _list(ledger, key, call.query)

    path = "/v1/sessions/{session_id}/events"
    return [
        Route(method="POST", path=path, handle=send, body=EventsSend),
        Route(method="GET", path=path, handle=list_events, query=EventsQuery),
    ]


# --- send ----------------------------------------------------------------------------------------------------------


async def _send(ledger: SessionRepository, key: Key, events: list[ev.ClientEvent]) -> list[dict[str, Any]]:
    last = await ledger.last(key)
    inbox = await ledger.bus.inbox.stream_epoch(key.cell)
    waiting: list[ev.ClientEvent] = []
    answered: set[str] = set()
    if names_calls(events):
        above = last.commit.head.taken_in(inbox)
        inputs = await ledger.bus.inbox.pending(key, above)
        # Read again: what was taken between the two reads is in neither otherwise.
        last = await ledger.last(key, leader=True)
        taken = last.commit.head.taken_in(inbox)
        for one in inputs:
            if one.seq > taken and isinstance(one.input, ClientInput):
                waiting += one.input.events
        answered = await _answered(ledger, key, last, unopened(last.commit.head, events))
    primary = (await ledger.config(key, last)).primary_thread if _names_thread(events) else ""
    check(last.commit.head, waiting, events, primary_thread=primary, answered=answered)
    ledger.unseen.put(key, events[0].id, last.seq)
    point("session.before_input")
    seq = await ledger.bus.inbox.put(key, ClientInput(id=new_id("inp"), events=events))
    point("session.input")
    ledger.queued.put(key, inbox, seq, events)
    now = ledger.now()
    return [event_object(e, now if isinstance(e, ev.UserCustomToolResult) else None) for e in events]


def _names_thread(events: list[ev.ClientEvent]) -> bool:
    return any(isinstance(e, ev.UserInterrupt) and e.session_thread_id is not None for e in events)


async def _answered(ledger: SessionRepository, key: Key, last: Stored, ids: list[str]) -> set[str]:
    """Which of the ids were custom tool calls of this session once."""
    if not ids:
        return set()
    known = ledger.model.position
    found = ledger.model.custom_calls(key, ids)
    if known < last.seq and not found.issuperset(ids):
        async with aclosing(forwards(ledger, key, Position(known + 1, -1))) as rest:
            found |= {one.event.id async for one in rest if isinstance(one.event, ev.AgentCustomToolUse)}
    return found


# --- list ----------------------------------------------------------------------------------------------------------


async def _list(ledger: SessionRepository, key: Key, query: EventsQuery) -> dict[str, Any]:
    for kind in query.types:
        if kind not in SHOWN_TYPES and kind not in _LATER_TYPES:
            raise invalid(f"types: {kind[:80]!r} is no type of event")
    bound = query.bound(key)
    place = None
    if query.page is not None:
        match pagination.position(query.page, bound):
            case [str(text)] if parse_position(text):
                place = parse_position(text)
            case _:
                raise invalid("page: not a cursor of this list")
    last = await ledger.last(key)
    kinds = frozenset(query.types)
    data: list[msgspec.Raw] = []
    size = 0
    async with aclosing(_found(ledger, key, query, last.seq, place)) as found:
        async for one in found:
            if kinds and one.type not in kinds:
                continue
            if len(data) == query.limit or size > PAGE_BYTES:
                return {"data": data, "next_page": pagination.cursor([str(place)], bound)}
            data.append(msgspec.Raw(msgspec.json.encode(event_object(one.event, one.at))))
            size += len(data[-1])
            place = one.position
    return {"data": data, "next_page": None}


async def _found(
    ledger: SessionRepository, key: Key, query: EventsQuery, end: int, place: Position | None
) -> AsyncGenerator[Shown]:
    """Events in the wanted order and time."""
    first, last = query.first, query.last
    ascending = query.order == "asc"
    if ascending:
        if place is None and first is not None:
            place = Position(ledger.model.last_before(key, first) + 1, -1)
        source = forwards(ledger, key, place or START)
    else:
        source = backwards(ledger, key, end, place)
    async with aclosing(source) as events:
        async for one in events:
            early, late = first is not None and one.at < first, last is not None and one.at > last
            if late if ascending else early:
                return
            if not early and not late:
                yield one
