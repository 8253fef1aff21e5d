"""Accepts the events of a request: checks them against the session, then stores them as one input."""

from contextlib import aclosing, nullcontext
from typing import Any

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import ClientInput, Source, Taken
from holdfast.process.faults import point
from holdfast.session.events.validation import answer_calls, check_against_head, closed_custom_calls
from holdfast.session.log.history import forwards
from holdfast.session.log.known_heads import KnownHead
from holdfast.session.log.repository import SessionRepository
from holdfast.session.log.serialize import Position, event_to_api


async def send(sessions: SessionRepository, key: Key, events: list[ev.ClientEvent]) -> list[dict[str, Any]]:
    """Store the events, and return them as clients see them. Raises ApiError 400, 404 and 429, BusError."""
    bus = sessions.bus
    stream_epoch = await bus.inbox.stream_epoch(key.cell)
    known = None if answer_calls(events) else sessions.heads.find(key)
    known = known or _known(await sessions.last_commit(key))
    waiting: list[ev.ClientEvent] = []
    answered: set[str] = set()
    if answer_calls(events):
        found = await _waiting(sessions, key, known.head.taken_in(stream_epoch))
        # The head is read again: an input that was taken between the two reads would be in neither.
        last = await sessions.last_commit(key, leader=True)
        known = _known(last)
        taken = known.head.taken_in(stream_epoch)
        waiting = [event for source, seq, event in found if seq > taken.of(source)]
        answered = await _custom_calls(sessions, key, last, closed_custom_calls(known.head, events))
    primary_thread = (await sessions.view(key)).config.primary_thread if _names_thread(events) else ""
    check_against_head(known.head, waiting, events, primary_thread=primary_thread, answered=answered)
    starts = any(isinstance(event, ev.UserMessage) for event in events)
    with sessions.turns.starting(key, known.head) if starts else nullcontext():
        sessions.unseen.put(key, events[0].id, known.seq, now=sessions.now())
        point("session.before_input")
        seq = await bus.inbox.put(key, ClientInput(id=new_id("inp"), events=events))
        point("session.input")
        sessions.pending.put(key, stream_epoch, seq, events)
    now = sessions.now()
    return [event_to_api(e, now if isinstance(e, ev.UserCustomToolResult) else None) for e in events]


def _known(last: Stored) -> KnownHead:
    return KnownHead(last.seq, last.commit.head)


def _names_thread(events: list[ev.ClientEvent]) -> bool:
    return any(isinstance(e, ev.UserInterrupt) and e.session_thread_id is not None for e in events)


async def _waiting(sessions: SessionRepository, key: Key, above: Taken) -> list[tuple[Source, int, ev.ClientEvent]]:
    """The events that wait above `above`, with source and sequence, without contents: these may be very large."""
    found: list[tuple[Source, int, ev.ClientEvent]] = []
    async with aclosing(sessions.bus.inbox.waiting(key, above)) as inputs:
        async for pending in inputs:
            events = pending.input.events if isinstance(pending.input, ClientInput) else []
            found.extend((pending.source, pending.seq, _without_content(event)) for event in events)
    return found


def _without_content(event: ev.ClientEvent) -> ev.ClientEvent:
    return replace(event, content=[]) if isinstance(event, ev.UserMessage | ev.UserCustomToolResult) else event


async def _custom_calls(sessions: SessionRepository, key: Key, last: Stored, ids: list[str]) -> set[str]:
    """Those ids that are custom tool calls in the log of the session."""
    if not ids:
        return set()
    read_model = sessions.read_model
    position = read_model.tables.position(key.cell)
    found = read_model.queries.custom_calls(key, ids)
    if position < last.seq and not found.issuperset(ids):
        async with aclosing(forwards(sessions, key, Position(position + 1, -1))) as unlisted:
            found |= {e.event.id async for e in unlisted if isinstance(e.event, ev.AgentCustomToolUse)}
    return found
