"""What the owner of a session does next: a pure decision from the head (rule 6)."""

from typing import Any, Literal

import msgspec

from holdfast.bus.events import StopReason
from holdfast.bus.head import Head, Thread, waits_for_client


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a turn."""

    rounds: int = 1000
    """Tool-use rounds in one turn."""
    compactions: int = 3
    """Compactions in a row without an answer between them."""
    context_tokens: int = 160_000
    """The context is compacted before a request that would be larger."""


class Interrupt(msgspec.Struct, frozen=True):
    """Close all open calls and come to rest: the user said so (rule 18)."""


class Abandon(msgspec.Struct, frozen=True):
    """A model request was started by an owner that is no more; close it."""

    request: str


class RunTools(msgspec.Struct, frozen=True):
    """Have every ready call run, and wait for results."""


class Resume(msgspec.Struct, frozen=True):
    """Show that the session runs again. A session that is rescheduled runs when the model begins to answer."""


class Sleep(msgspec.Struct, frozen=True):
    """Wait until `until` (microseconds), unless an input arrives."""

    until: int


class Compact(msgspec.Struct, frozen=True):
    """Summarise the history."""


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model."""


class Release(msgspec.Struct, frozen=True):
    """Let go. `stop` None: the status is already right. `error` is told first."""

    stop: StopReason | None = None
    error: dict[str, Any] | None = None


Step = Interrupt | Abandon | RunTools | Resume | Sleep | Compact | CallModel | Release


def error(kind: str, message: str, retry: Literal["retrying", "exhausted", "terminal"]) -> dict[str, Any]:
    """The `error` of a `session.error` event."""
    return {"type": kind, "message": message, "retry_status": {"type": retry}}


def decide(  # noqa: PLR0911  the list of cases is the protocol
    head: Head, *, now: int, fresh_tokens: int, limits: Limits, thread: str = ""
) -> Step:
    """The next step of that thread. `fresh_tokens` is an estimate of what its next request adds to the last one."""
    if head.archived or head.deleted:
        return Release()
    state = head.threads.get(thread, Thread())
    if state.interrupted:
        return Interrupt()
    if state.request:
        return Abandon(state.request)
    if any(c.state == "ready" and c.thread == thread for c in head.calls):
        return RunTools()
    if waiting := waits_for_client(head, thread):
        shown = state.stop.event_ids if state.stop and state.stop.type == "requires_action" else None
        return Release() if shown == waiting else Release(StopReason("requires_action", waiting))
    if state.todo:
        return _answer(state, now, fresh_tokens, limits)
    return Release() if state.status == "idle" else Release(StopReason("end_turn"))


def _answer(state: Thread, now: int, fresh_tokens: int, limits: Limits) -> Step:
    if state.rounds >= limits.rounds:
        text = f"The turn used its {limits.rounds} rounds of tool calls. Send a message to go on."
        return Release(StopReason("retries_exhausted"), error("tool_use_limit_reached_error", text, "exhausted"))
    if state.retry_at > now:
        return Sleep(state.retry_at)
    if state.status == "idle":
        return Resume()
    if state.context_tokens + fresh_tokens > limits.context_tokens:
        if state.compactions >= limits.compactions:
            text = "What the model must see does not fit its context even after summarising. Send less at once."
            return Release(StopReason("retries_exhausted"), error("compaction_limit_reached_error", text, "exhausted"))
        if state.context_tokens:
            return Compact()
    return CallModel()
