"""The events with which a session comes to rest, or waits for the model. Pure but for ids."""

from typing import Any

from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import new_id
from holdfast.harness.turn.ingest import INTERRUPTED, failed, usage
from holdfast.harness.turn.retry import Retry


def close_calls(head: Head, *, why: str = INTERRUPTED, thread: str = "") -> list[ev.Event]:
    """An error result for every open call of the thread, so that the log can always be replayed."""
    return [failed(call.id, why) for call in head.calls if call.thread == thread]


def close_request(head: Head, *, stop: str, thread: str = "") -> list[ev.ModelRequestEnd]:
    """The end of a model request that nobody will finish."""
    state = head.threads.get(thread)
    if state is None or not state.request:
        return []
    return [
        ev.ModelRequestEnd(
            id=new_id("sevt"),
            thread=thread,
            model_request_start_id=state.request,
            model_usage=ev.ModelUsage(),
            is_error=True,
            stop=stop,
        )
    ]


def rescheduled(head: Head, config: ev.SessionConfig, retry: Retry) -> list[ev.Event]:
    """The end of the failed model request, and the events that tell the failure if it is told."""
    ended = [
        replace(event, retry_at=0 if retry.told else retry.at, broke_off=retry.broke_off)
        for event in close_request(head, stop="failed")
    ]
    if not retry.told:
        return [*ended]
    name, thread = str(config.agent["name"]), config.primary_thread
    return [
        *ended,
        ev.SessionError(id=new_id("sevt"), error=retry.error),
        ev.ThreadStatusRescheduled(id=new_id("sevt"), agent_name=name, session_thread_id=thread),
        ev.SessionStatusRescheduled(id=new_id("sevt"), retry_at=retry.at),
    ]


def idle(
    head: Head,
    config: ev.SessionConfig,
    stop: ev.StopReason,
    *,
    now: int,
    error: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
    close: bool = False,
) -> list[ev.Event]:
    """Error if any, thread idle, usage, session idle: the order of C.5. `close` first ends what is still open."""
    events: list[ev.Event] = [*close_request(head, stop="abandoned"), *close_calls(head)] if close else []
    if error:
        events.append(ev.SessionError(id=new_id("sevt"), error=error))
    after = advance(head, events, now)
    return [
        *events,
        ev.ThreadStatusIdle(
            id=new_id("sevt"),
            agent_name=str(config.agent["name"]),
            session_thread_id=config.primary_thread,
            stop_reason=stop,
            stop_details=details,
        ),
        ev.SessionUsage(id=new_id("sevt"), usage=usage(after, now)),
        ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=stop, stop_details=details),
    ]
