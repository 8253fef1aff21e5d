"""The events with which a thread comes to rest, or waits for the model. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import NewId
from holdfast.harness.tools.tool_results import CALL_INTERRUPTED, error_result
from holdfast.harness.turn.retry import Retry


def close_calls(head: Head, *, thread: str, new_id: NewId) -> list[ev.Event]:
    """An error result for every open call of the thread, so that the log can always be replayed."""
    return [
        error_result(call.id, CALL_INTERRUPTED, thread=thread, new_id=new_id)
        for call in head.calls
        if call.thread == thread
    ]


def close_request(head: Head, *, stop: str, thread: str, new_id: NewId) -> list[ev.ModelRequestEnd]:
    """The end of the thread's open model request, which nobody will finish; empty if none is open."""
    request = head.thread(thread).request
    if not request:
        return []
    return [
        ev.ModelRequestEnd(
            id=new_id("sevt"),
            thread=thread,
            model_request_start_id=request,
            model_usage=ev.ModelUsage(),
            is_error=True,
            stop=stop,
        )
    ]


def rescheduled(head: Head, config: ev.SessionConfig, retry: Retry, *, thread: str, new_id: NewId) -> list[ev.Event]:
    """The end of the failed model request and, if the failure is told, the events that tell it."""
    ended = [
        replace(event, retry_at=0 if retry.told else retry.at, broke_off=retry.broke_off)
        for event in close_request(head, stop="failed", thread=thread, new_id=new_id)
    ]
    if not retry.told:
        return [*ended]
    events: list[ev.Event] = [*ended, ev.SessionError(id=new_id("sevt"), thread=thread, error=retry.error)]
    after = advance(head, events, head.at)
    return [*events, *status.rescheduled(after, config, retry_at=retry.at, thread=thread, new_id=new_id)]


def idle(
    head: Head,
    config: ev.SessionConfig,
    stop: ev.StopReason,
    *,
    now: int,
    thread: str,
    new_id: NewId,
    before: Sequence[ev.Event] = (),
    error: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
) -> list[ev.Event]:
    """`before`, the error if there is one, then the events with which the thread becomes idle (`status.idle`)."""
    events: list[ev.Event] = [*before]
    if error:
        events.append(ev.SessionError(id=new_id("sevt"), thread=thread, error=error))
    after = advance(head, events, now)
    return [*events, *status.idle(after, config, stop, details=details, now=now, thread=thread, new_id=new_id)]


def closed(
    head: Head,
    config: ev.SessionConfig,
    stop: ev.StopReason,
    *,
    now: int,
    thread: str,
    new_id: NewId,
    error: dict[str, Any] | None = None,
) -> list[ev.Event]:
    """As `idle`, after the end of the thread's open model request and error results for its open calls."""
    open_work = [
        *close_request(head, stop="abandoned", thread=thread, new_id=new_id),
        *close_calls(head, thread=thread, new_id=new_id),
    ]
    return idle(head, config, stop, now=now, thread=thread, new_id=new_id, before=open_work, error=error)
