"""Checks events that clients send before they are stored: their contents, then whether the session can take them. Pure.

A request is taken whole or refused whole. Nothing but an ApiError 400 is raised.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import NewId
from holdfast.session.events.content import check_blocks, to_blocks
from holdfast.session.events.schema import (
    Sent,
    SentConfirmation,
    SentInterrupt,
    SentMessage,
    SentResult,
    UnavailableEvent,
)
from holdfast.session.http.errors import ApiError, invalid, not_available

MAX_EVENTS: Final = 100
"""Events of one request."""

MAX_INITIAL_EVENTS: Final = 50
"""Initial events of one session."""

MAX_EVENTS_BYTES: Final = 24 * 1024 * 1024
"""Encoded size of all events of one request, in bytes: less than the Messages API takes, so that the rest fits too."""


class EventsField(NamedTuple):
    """The field of a request that holds events, and its rules."""

    name: str
    max_events: int
    initial: bool
    """It may be empty, and holds messages only."""


SENT_EVENTS: Final = EventsField("events", MAX_EVENTS, initial=False)
INITIAL_EVENTS: Final = EventsField("initial_events", MAX_INITIAL_EVENTS, initial=True)

# --- contents ------------------------------------------------------------------------------------------------------


def to_events(sent: Sequence[Sent], field: EventsField, new_id: NewId) -> list[ev.ClientEvent]:
    """The events of a request as they are stored, with their ids. Raises ApiError 400."""
    if not sent and not field.initial:
        raise invalid(f"{field.name}: must hold at least one event")
    if len(sent) > field.max_events:
        raise invalid(
            f"{field.name}: {len(sent)} events, but a request may hold at most {field.max_events};"
            " send the rest in another one"
        )
    events = [_to_event(one, f"{field.name}[{index}]", field, new_id) for index, one in enumerate(sent)]
    if sum(len(msgspec.json.encode(event)) for event in events) > MAX_EVENTS_BYTES:
        raise invalid(f"{field.name}: together larger than {MAX_EVENTS_BYTES} bytes; send less at once")
    return events


def _to_event(sent: Sent, at: str, field: EventsField, new_id: NewId) -> ev.ClientEvent:
    type_ = str(sent.__struct_config__.tag)
    if isinstance(sent, UnavailableEvent):
        raise not_available(f"{at}.type: {type_} events are")
    if field.initial and not isinstance(sent, SentMessage):
        raise invalid(
            f"{at}.type: only `user.message` may be an initial event; send `{type_}` to the session afterwards"
        )
    match sent:
        case SentMessage():
            if not sent.content:
                raise invalid(f"{at}.content: must hold at least one block")
            check_blocks(sent.content, f"{at}.content")
            return ev.UserMessage(id=new_id("sevt"), content=to_blocks(sent.content))
        case SentInterrupt():
            return ev.UserInterrupt(id=new_id("sevt"), session_thread_id=sent.session_thread_id)
        case SentConfirmation():
            if sent.deny_message is not None and sent.result != "deny":
                raise invalid(f"{at}.deny_message: only allowed when `result` is `deny`")
            return ev.UserToolConfirmation(
                id=new_id("sevt"), tool_use_id=sent.tool_use_id, result=sent.result, deny_message=sent.deny_message
            )
        case SentResult():
            check_blocks(sent.content or [], f"{at}.content")
            return ev.UserCustomToolResult(
                id=new_id("sevt"),
                custom_tool_use_id=sent.custom_tool_use_id,
                content=None if sent.content is None else to_blocks(sent.content),
                is_error=sent.is_error,
            )


# --- the state of the session --------------------------------------------------------------------------------------


def answer_calls(events: Iterable[ev.ClientEvent]) -> bool:
    """Whether any of the events answers a tool call, so that the inputs that still wait must be looked at too."""
    return any(isinstance(e, ev.UserToolConfirmation | ev.UserCustomToolResult) for e in events)


def closed_custom_calls(head: Head, events: Iterable[ev.ClientEvent]) -> list[str]:
    """Custom tool calls named by `events` that are not open; only the log knows whether they ever were."""
    open_calls = {c.id for c in head.calls}
    return [
        e.custom_tool_use_id
        for e in events
        if isinstance(e, ev.UserCustomToolResult) and e.custom_tool_use_id not in open_calls
    ]


def check_against_head(
    head: Head,
    waiting: Sequence[ev.ClientEvent],
    events: Sequence[ev.ClientEvent],
    *,
    primary_thread: str = "",
    answered: Collection[str] = (),
) -> None:
    """Raise ApiError 400 for events that a session in that state cannot take.

    `waiting`: events that were accepted before and are not in the head yet. `answered`: custom tool calls of the
    session that are closed; a second result of such a call is accepted and logged, and never sent to the model (C.6).
    """
    if head.archived or head.deleted:
        raise invalid("the session is archived and takes no more events; create a new session")
    custom_calls = {c.id for c in head.calls if c.state == "client"}.union(answered)
    head = advance(head, waiting, head.at + 1)
    for index, event in enumerate(events):
        problem = _refusal(head, event, f"events[{index}]", primary_thread, custom_calls)
        if problem:
            raise problem
        head = advance(head, [event], head.at + 1)


def _refusal(
    head: Head, event: ev.ClientEvent, at: str, primary_thread: str, custom_calls: Collection[str]
) -> ApiError | None:
    match event:
        case ev.UserInterrupt(session_thread_id=thread) if thread is not None and thread != primary_thread:
            return invalid(f"{at}.session_thread_id: the session has no such thread; leave the field out")
        case ev.UserToolConfirmation():
            return _confirmation_refusal(head, event, f"{at}.tool_use_id")
        case ev.UserCustomToolResult():
            return _custom_result_refusal(head, event, f"{at}.custom_tool_use_id", custom_calls)
        case _:
            return None


def _confirmation_refusal(head: Head, event: ev.UserToolConfirmation, at: str) -> ApiError | None:
    call = next((c for c in head.calls if c.id == event.tool_use_id), None)
    if call is not None and call.state == "ask":
        return None
    why = "this call is not waiting for a confirmation" if call else "names no open tool call"
    return invalid(f"{at}: {why}; see `stop_reason.event_ids` of the last session.status_idle")


def _custom_result_refusal(
    head: Head, event: ev.UserCustomToolResult, at: str, custom_calls: Collection[str]
) -> ApiError | None:
    call = next((c for c in head.calls if c.id == event.custom_tool_use_id), None)
    if call is not None and call.state != "client":
        return invalid(f"{at}: this call is not answered by the client")
    if call is None and event.custom_tool_use_id not in custom_calls:
        return invalid(f"{at}: the session has no custom tool call with this id")
    return None
