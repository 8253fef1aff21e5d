"""Status, errors, updates and usage of sessions and of their threads. Pure."""

from typing import Any, Literal

import msgspec
from msgspec import field

from holdfast.bus.events.base import Event


class StopReason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a session is idle. `event_ids` only with `requires_action`: the calls that wait for the client."""

    type: Literal["end_turn", "requires_action", "retries_exhausted", "budget_reached", "refusal"]
    event_ids: list[str] | None = None


class SessionStatusRunning(Event, frozen=True, kw_only=True, tag="session.status_running"):
    pass


class SessionStatusIdle(Event, frozen=True, kw_only=True, tag="session.status_idle"):
    stop_reason: StopReason
    stop_details: dict[str, Any] | None = None


class SessionStatusRescheduled(Event, frozen=True, kw_only=True, tag="session.status_rescheduled"):
    """No thread runs, and one waits to make a failed model request again."""

    retry_at: int = field(name="_retry_at", default=0)
    """Written by release 0.1.0, which had no `retry_at` in the thread's event; read for its sessions."""


class SessionStatusTerminated(Event, frozen=True, kw_only=True, tag="session.status_terminated"):
    pass


class SessionError(Event, frozen=True, kw_only=True, tag="session.error"):
    """`error` is `{type, message, retry_status: {type: retrying|exhausted|terminal}, …}`."""

    error: dict[str, Any]


class SessionUpdated(Event, frozen=True, kw_only=True, tag="session.updated"):
    """Only changed fields are set; `title_cleared` says that the title was removed."""

    title: str | None = None
    metadata: dict[str, str] | None = None
    agent: dict[str, Any] | None = None
    title_cleared: bool = field(name="_title_cleared", default=False)


class SessionUsage(Event, frozen=True, kw_only=True, tag="session.usage"):
    usage: dict[str, Any]
    budget: dict[str, Any] | None = None


class SessionDeleted(Event, frozen=True, kw_only=True, tag="session.deleted"):
    pass


class ThreadEvent(Event, frozen=True, kw_only=True):
    agent_name: str
    session_thread_id: str


class ThreadStatusRunning(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_running"):
    pass


class ThreadStatusIdle(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_idle"):
    stop_reason: StopReason
    stop_details: dict[str, Any] | None = None


class ThreadStatusRescheduled(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_rescheduled"):
    """A model request of the thread failed and is made again at `retry_at` (microseconds, Unix)."""

    retry_at: int = field(name="_retry_at", default=0)


class ThreadStatusTerminated(ThreadEvent, frozen=True, kw_only=True, tag="session.thread_status_terminated"):
    pass
