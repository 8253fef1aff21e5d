"""The events by which a thread and its session change their status. Pure.

A thread's change is told by an event that names it and its agent. The session's status is a fold over its threads
(`Head.status`), and is told by events of its own when it changes. Every service that changes a status makes both here.
`head` is that of the log just before the events, and `now` is in microseconds (Unix).
"""

from typing import Any

from holdfast.bus import events as ev
from holdfast.bus.head import Head, advance
from holdfast.bus.ids import NewId
from holdfast.bus.usage import usage_object


def running(head: Head, config: ev.SessionConfig, *, thread: str, new_id: NewId) -> list[ev.Event]:
    """The thread runs, and with it the session."""
    session = [] if head.status == "running" else [ev.SessionStatusRunning(id=new_id("sevt"), thread=thread)]
    return [*session, ev.ThreadStatusRunning(**_thread_fields(config, thread, new_id))]


def rescheduled(head: Head, config: ev.SessionConfig, *, retry_at: int, thread: str, new_id: NewId) -> list[ev.Event]:
    """A model request of the thread failed. It is made again at `retry_at` (microseconds, Unix).

    The session is rescheduled too, unless another thread runs.
    """
    own = ev.ThreadStatusRescheduled(**_thread_fields(config, thread, new_id), retry_at=retry_at)
    if advance(head, [own], head.at).status != "rescheduling":
        return [own]
    return [own, ev.SessionStatusRescheduled(id=new_id("sevt"), thread=thread)]


def idle(
    head: Head,
    config: ev.SessionConfig,
    stop: ev.StopReason,
    *,
    details: dict[str, Any] | None,
    now: int,
    thread: str,
    new_id: NewId,
) -> list[ev.Event]:
    """The thread is idle because of `stop`. With the last thread the session is: its usage and its status follow.

    `details` explains a refusal of the model.
    """
    own = ev.ThreadStatusIdle(**_thread_fields(config, thread, new_id), stop_reason=stop, stop_details=details)
    after = advance(head, [own], now)
    match after.status:
        case "idle":
            shown = details if stop == after.stop else None
            return [
                own,
                ev.SessionUsage(id=new_id("sevt"), usage=usage_object(after, now)),
                ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=after.stop, stop_details=shown),
            ]
        case "rescheduling" if head.status == "running":
            return [own, ev.SessionStatusRescheduled(id=new_id("sevt"))]
        case _:
            return [own]  # other threads go on


def terminated(config: ev.SessionConfig, *, new_id: NewId) -> list[ev.Event]:
    """The primary thread and the session are at their end."""
    return [
        ev.ThreadStatusTerminated(**_thread_fields(config, "", new_id)),
        ev.SessionStatusTerminated(id=new_id("sevt")),
    ]


def _thread_fields(config: ev.SessionConfig, thread: str, new_id: NewId) -> dict[str, Any]:
    """The fields of an event of the thread; `thread` is empty for the primary one."""
    return {
        "id": new_id("sevt"),
        "thread": thread,
        "agent_name": str(config.agent["name"]),
        "session_thread_id": thread or config.primary_thread,
    }
