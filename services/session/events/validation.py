"""Events that clients send, checked before they are stored: first their shapes, then whether the session can take them.

A request is taken whole or refused whole. Pure: the events get their final ids here, the head is given. Nothing but a
`Problem` is ever raised.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import new_id
from holdfast.session.events.content import MessageBlock, ResultBlock, Shape, check_blocks, stored
from holdfast.session.http.errors import ApiError, invalid, not_available

MAX_EVENTS: Final = 100
"""Events of one request."""

MAX_INITIAL: Final = 50
"""Initial events of one session."""

MAX_BYTES: Final = 24 * 1024 * 1024
"""Encoded size of all events of one request: less than the Messages API takes in a request, with room for the rest."""


class SentMessage(Shape, frozen=True, kw_only=True, tag="user.message"):
    content: list[MessageBlock]


class SentInterrupt(Shape, frozen=True, kw_only=True, tag="user.interrupt"):
    session_thread_id: str | None = None


class SentConfirmation(Shape, frozen=True, kw_only=True, tag="user.tool_confirmation"):
    tool_use_id: str
    result: Literal["allow", "deny"]
    deny_message: Annotated[str, Meta(max_length=10_000)] | None = None


class SentResult(Shape, frozen=True, kw_only=True, tag="user.custom_tool_result"):
    custom_tool_use_id: str
    content: list[ResultBlock] | None = None
    is_error: bool | None = None


class _Later(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """An event of the API that this version does not take; whatever else it holds, the answer names it."""


class SentOutcome(_Later, frozen=True, kw_only=True, tag="user.define_outcome"):
    pass


class SentToolResult(_Later, frozen=True, kw_only=True, tag="user.tool_result"):
    pass


class SentSystem(_Later, frozen=True, kw_only=True, tag="system.message"):
    pass


Sent = SentMessage | SentInterrupt | SentConfirmation | SentResult | SentOutcome | SentToolResult | SentSystem


def events_of(sent: Sequence[Sent], *, name: str = "events", initial: bool = False) -> list[ev.ClientEvent]:
    """The events of a request, complete with their ids. `initial`: at the creation of a session."""
    most = MAX_INITIAL if initial else MAX_EVENTS
    if not sent and not initial:
        raise invalid(f"{name}: must hold at least one event")
    if len(sent) > most:
        raise invalid(
            f"{name}: {len(sent)} events, but a request may hold at most {most}; send the rest in another one"
        )
    events = [_made(one, f"{name}[{index}]", initial=initial) for index, one in enumerate(sent)]
    if sum(len(msgspec.json.encode(event)) for event in events) > MAX_BYTES:
        raise invalid(f"{name}: together larger than {MAX_BYTES} bytes; send less at once")
    return events


def _made(sent: Sent, at: str, *, initial: bool) -> ev.ClientEvent:
    kind = str(sent.__struct_config__.tag)
    if isinstance(sent, _Later):
        raise not_available(f"{at}.type: {kind} events are")
    if initial and not isinstance(sent, SentMessage):
        raise invalid(
            f"{at}.type: only `user.message` may be an initial event; send `{kind}` to the session afterwards"
        )
    match sent:
        case SentMessage():
            if not sent.content:
                raise invalid(f"{at}.content: must hold at least one block")
            check_blocks(sent.content, f"{at}.content")
            return ev.UserMessage(id=new_id("sevt"), content=stored(sent.content))
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
                content=None if sent.content is None else stored(sent.content),
                is_error=sent.is_error,
            )


def names_calls(events: Iterable[ev.ClientEvent]) -> bool:
    """Whether any of the events answers a call, so that what still waits must be looked at too."""
    return any(isinstance(e, ev.UserToolConfirmation | ev.UserCustomToolResult) for e in events)


def unopened(head: Head, events: Iterable[ev.ClientEvent]) -> list[str]:
    """Custom tool calls named by `events` that are not open: whether they were answered only the log knows."""
    open_calls = {c.id for c in head.calls}
    return [
        e.custom_tool_use_id
        for e in events
        if isinstance(e, ev.UserCustomToolResult) and e.custom_tool_use_id not in open_calls
    ]


def check(
    head: Head,
    waiting: Sequence[ev.ClientEvent],
    events: Sequence[ev.ClientEvent],
    *,
    primary_thread: str = "",
    answered: Collection[str] = (),
) -> None:
    """Refuse events that a session in that state cannot take.

    `waiting` was accepted before and is not in the head yet; `answered` are custom tool calls that are not open any
    more: a second result is accepted, logged, and never fed to the model (C.6).
    """
    if head.archived or head.deleted:
        raise invalid("the session is archived and takes no more events; create a new session")
    known = {c.id for c in head.calls if c.state == "client"}.union(answered)
    head = advance(head, waiting, head.at + 1)
    for index, event in enumerate(events):
        problem = _refusal(head, event, f"events[{index}]", primary_thread, known)
        if problem:
            raise problem
        head = advance(head, [event], head.at + 1)


def _refusal(  # noqa: PLR0911  one answer a rule
    head: Head, event: ev.ClientEvent, at: str, primary_thread: str, known: Collection[str]
) -> ApiError | None:
    match event:
        case ev.UserInterrupt(session_thread_id=thread) if thread is not None and thread != primary_thread:
            return invalid(f"{at}.session_thread_id: the session has no such thread; leave the field out")
        case ev.UserToolConfirmation(tool_use_id=call_id):
            call = next((c for c in head.calls if c.id == call_id), None)
            if call is None or call.state != "ask":
                why = "this call is not waiting for a confirmation" if call else "names no open tool call"
                return invalid(f"{at}.tool_use_id: {why}; see `stop_reason.event_ids` of the last session.status_idle")
            return None
        case ev.UserCustomToolResult(custom_tool_use_id=call_id):
            call = next((c for c in head.calls if c.id == call_id), None)
            if call is not None and call.state != "client":
                return invalid(f"{at}.custom_tool_use_id: this call is not answered by the client")
            if call is None and call_id not in known:
                return invalid(f"{at}.custom_tool_use_id: the session has no custom tool call with this id")
            return None
        case _:
            return None
