"""The state of a session before it is watched: its newest event, its last turn, its open calls."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from anthropic import AsyncAnthropic

from holdfast.cli.client.event_stream import BEGINNING

MAX_EVENTS: Final = 1000
"""Upper bound of the events that are read, newest first, to find the beginning of the last turn."""

_SHOWN_AS_PROCESSED: Final = ("user.custom_tool_result",)
"""Types of events that have a `processed_at` although they may still be queued."""


class SessionState(msgspec.Struct, frozen=True):
    """What is known of a session before its events are watched."""

    after: str
    """Id of the newest event that is surely in the log, or BEGINNING. An event stream after it has no gap."""
    turn: Sequence[Any]
    """The events of the last turn, oldest first."""
    questions: Sequence[Any]
    """Calls that wait for a client."""
    running: bool
    ended: bool


async def session_state(client: AsyncAnthropic, session: str) -> SessionState:
    """Read the state from the newest events. Raises the errors of the SDK."""
    turn: list[Any] = []
    queued: list[Any] = []
    status: Any = None
    begun = False
    async for event in client.beta.sessions.events.list(session, order="desc", limit=100):
        if event.processed_at is None:
            queued.append(event)  # a stream cannot begin behind it, and shows it when the session takes it
            continue
        if status is None and event.type.startswith("session.status_"):
            status = event
        if not begun:
            turn.append(event)
            begun = event.type == "user.message" or len(turn) >= MAX_EVENTS
        if begun and status is not None:  # the status event of a turn may come before its message
            break
    turn.reverse()
    kind = status.type if status else ""
    waiting: list[str] = []
    if status is not None and kind == "session.status_idle" and status.stop_reason.type == "requires_action":
        answered = {_answered(event) for event in (*turn, *queued)}
        waiting = [id_ for id_ in status.stop_reason.event_ids or () if id_ not in answered]
    return SessionState(
        after=next((event.id for event in reversed(turn) if event.type not in _SHOWN_AS_PROCESSED), BEGINNING),
        turn=turn,
        questions=await tool_calls_by_id(client, session, waiting, turn),
        running=kind in ("session.status_running", "session.status_rescheduled")
        or any(event.type == "user.message" for event in queued),
        ended=kind == "session.status_terminated",
    )


async def tool_calls_by_id(
    client: AsyncAnthropic, session: str, ids: Sequence[str], known: Sequence[Any] = ()
) -> list[Any]:
    """The tool calls with these ids, in their order, from `known` events or the session's own."""
    found: dict[str, Any] = {event.id: event for event in known if event.id in ids}
    if len(found) < len(ids):
        types: list[Any] = ["agent.tool_use", "agent.custom_tool_use"]
        async for event in client.beta.sessions.events.list(session, order="desc", limit=100, types=types):
            if event.id in ids:
                found[event.id] = event
            if len(found) == len(ids):
                break
    return [found[id_] for id_ in ids if id_ in found]


def _answered(event: Any) -> str:
    """The id of the call that this event answers."""
    match event.type:
        case "user.tool_confirmation" | "agent.tool_result":
            return event.tool_use_id
        case "user.custom_tool_result":
            return event.custom_tool_use_id
        case _:
            return ""
