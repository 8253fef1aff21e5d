"""The events that update, archive and delete a session. Pure.

`status` is that which clients see: a session whose input was accepted runs, although its head is idle.
"""

from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import status as status_events
from holdfast.bus.head import Head, Status
from holdfast.bus.ids import NewId
from holdfast.session.agents.tools import resolve_tools
from holdfast.session.http.errors import invalid, not_available
from holdfast.session.sessions.schema import AgentPatch, SessionUpdate
from holdfast.session.storage.metadata import patched

ARCHIVED_CALL_RESULT: Final = "The session was archived before this call was completed."
"""Result of the calls that were open when their session was archived."""


def update_events(
    head: Head, config: ev.SessionConfig, status: Status, params: SessionUpdate, new_id: NewId
) -> list[ev.Event]:
    """The change for clients, then the whole new configuration; none when nothing changes. Raises ApiError 400."""
    if head.archived:
        raise invalid("the session is archived and cannot be changed")
    after = config
    if params.title is not UNSET:
        after = replace(after, title=params.title or None)
    if isinstance(params.metadata, dict):
        after = replace(after, metadata=patched(config.metadata, params.metadata))
    if isinstance(params.agent, AgentPatch):
        after = replace(after, agent=_patched_agent(head, config, status, params.agent))
    if after == config:
        return []
    updated = ev.SessionUpdated(
        id=new_id("sevt"),
        title=after.title if after.title != config.title else None,
        title_cleared=config.title is not None and after.title is None,
        metadata=(after.metadata or None) if after.metadata != config.metadata else None,
        agent=after.agent if after.agent != config.agent else None,
    )
    return [updated, replace(after, id=new_id("sevt"))]


def _patched_agent(head: Head, config: ev.SessionConfig, status: Status, patch: AgentPatch) -> dict[str, Any]:
    if status != "idle" or head.claim:
        raise invalid("agent: cannot be changed while the session is running; interrupt it and wait until it is idle")
    if patch.mcp_servers:
        raise not_available("agent.mcp_servers: MCP servers are")
    if patch.tools is UNSET:
        return config.agent
    return {**config.agent, "tools": resolve_tools(patch.tools, "agent.tools")}


def archive_events(head: Head, config: ev.SessionConfig, status: Status, new_id: NewId) -> list[ev.Event]:
    """An error result for each open call, then the end of the thread and of the session; none if it is archived.

    Raises ApiError 400 while the session runs.
    """
    if head.archived:
        return []
    _refuse_unless_idle(head, status, "archived")
    closed: list[ev.Event] = [
        ev.AgentToolResult(
            id=new_id("sevt"),
            thread=call.thread,
            tool_use_id=call.id,
            content=[{"type": "text", "text": ARCHIVED_CALL_RESULT}],
            is_error=True,
        )
        for call in head.calls
    ]
    return [*closed, *status_events.terminated(config, new_id=new_id)]


def delete_events(head: Head, status: Status, new_id: NewId) -> list[ev.Event]:
    """The tombstone. Raises ApiError 400 while the session runs."""
    if not head.archived:
        _refuse_unless_idle(head, status, "deleted")
    return [ev.SessionDeleted(id=new_id("sevt"))]


def _refuse_unless_idle(head: Head, status: Status, participle: str) -> None:
    if status == "rescheduling":
        raise invalid(
            f"the session waits to try again and cannot be {participle}; interrupt it and wait until it is idle"
        )
    if status == "running" or head.claim:
        raise invalid(f"the session is running and cannot be {participle}; interrupt it and wait until it is idle")
