"""The events by which a thread and its session change their status. Pure.

Clients are told of a change twice: by an event of the thread, which names it and its agent, and by one of the session.
Every service that changes a status makes both here.
"""

from typing import Any

from holdfast.bus.events.base import Event
from holdfast.bus.events.internal import SessionConfig
from holdfast.bus.events.session import (
    SessionStatusIdle,
    SessionStatusRescheduled,
    SessionStatusRunning,
    SessionStatusTerminated,
    SessionUsage,
    StopReason,
    ThreadStatusIdle,
    ThreadStatusRescheduled,
    ThreadStatusRunning,
    ThreadStatusTerminated,
)
from holdfast.bus.ids import NewId


def running(config: SessionConfig, *, thread: str, new_id: NewId) -> list[Event]:
    """The thread, and with it the session, runs."""
    return [
        SessionStatusRunning(id=new_id("sevt"), thread=thread),
        ThreadStatusRunning(**_thread_fields(config, thread, new_id)),
    ]


def rescheduled(config: SessionConfig, *, retry_at: int, thread: str, new_id: NewId) -> list[Event]:
    """A model request of the thread failed. It is made again at `retry_at` (microseconds, Unix)."""
    return [
        ThreadStatusRescheduled(**_thread_fields(config, thread, new_id)),
        SessionStatusRescheduled(id=new_id("sevt"), thread=thread, retry_at=retry_at),
    ]


def idle(
    config: SessionConfig,
    stop: StopReason,
    *,
    usage: dict[str, Any],
    details: dict[str, Any] | None,
    thread: str,
    new_id: NewId,
) -> list[Event]:
    """The thread is idle because of `stop`. With the primary thread the session is: its `usage` and its status follow.

    `usage` is the object that `bus.usage.usage_object` makes. `details` explains a refusal of the model.
    """
    own = ThreadStatusIdle(**_thread_fields(config, thread, new_id), stop_reason=stop, stop_details=details)
    if thread:
        return [own]
    return [
        own,
        SessionUsage(id=new_id("sevt"), usage=usage),
        SessionStatusIdle(id=new_id("sevt"), stop_reason=stop, stop_details=details),
    ]


def terminated(config: SessionConfig, *, new_id: NewId) -> list[Event]:
    """The primary thread and the session are at their end."""
    return [
        ThreadStatusTerminated(**_thread_fields(config, "", new_id)),
        SessionStatusTerminated(id=new_id("sevt")),
    ]


def _thread_fields(config: SessionConfig, thread: str, new_id: NewId) -> dict[str, Any]:
    """The fields of an event of the thread; `thread` is empty for the primary one."""
    return {
        "id": new_id("sevt"),
        "thread": thread,
        "agent_name": str(config.agent["name"]),
        "session_thread_id": thread or config.primary_thread,
    }
