"""What may be done to a session that exists: update, archive, delete. Pure decisions, and the appends they lead to."""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.head import Head, Status
from holdfast.bus.ids import Key, new_id
from holdfast.bus.metadata import MetadataPatch
from holdfast.session.agents.tools import Tool, resolve_tools
from holdfast.session.http.errors import ApiError, invalid, not_available
from holdfast.session.log.repository import SessionRepository, SessionView
from holdfast.session.sessions.create import Title
from holdfast.session.storage.metadata import patched

RELEASED_WITHIN: Final = 3.0
"""Seconds that a request waits for a harness to let go of a session that rests already."""

CLOSED: Final = "The session was archived before this call was completed."


class AgentPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parts of the agent that a session may change for itself: what is given replaces whole."""

    tools: list[Tool] | UnsetType = UNSET
    mcp_servers: list[Any] | UnsetType = UNSET


class SessionUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/sessions/{session_id}`: what is left out stays."""

    title: Title | UnsetType | None = UNSET
    metadata: MetadataPatch | UnsetType | None = UNSET
    agent: AgentPatch | UnsetType | None = UNSET
    budget: dict[str, Any] | UnsetType | None = UNSET
    vault_ids: list[str] | UnsetType | None = UNSET


async def update(ledger: SessionRepository, key: Key, params: SessionUpdate) -> SessionView:
    """The session after the update. Raises Problem 400 and 404."""
    if params.vault_ids is not UNSET:
        raise invalid("vault_ids: the vaults of a session cannot be changed")
    if isinstance(params.budget, dict):
        raise not_available("budget: budgets are")
    return await ledger.change(key, lambda opened: updated(opened, params, ledger.status(opened)))


def updated(opened: SessionView, params: SessionUpdate, status: Status) -> list[ev.Event]:
    """The events of an update: what changed for the clients, and the whole new configuration. None if nothing did."""
    if opened.head.archived:
        raise invalid("the session is archived and cannot be changed")
    before = opened.config
    after = before
    if params.title is not UNSET:
        after = replace(after, title=params.title or None)
    if isinstance(params.metadata, dict):
        after = replace(after, metadata=patched(before.metadata, params.metadata))
    if isinstance(params.agent, AgentPatch):
        after = replace(after, agent=_agent(opened, params.agent, status))
    if after == before:
        return []
    told = ev.SessionUpdated(
        id=new_id("sevt"),
        title=after.title if after.title != before.title else None,
        title_cleared=before.title is not None and after.title is None,
        metadata=(after.metadata or None) if after.metadata != before.metadata else None,
        agent=after.agent if after.agent != before.agent else None,
    )
    return [told, replace(after, id=new_id("sevt"))]


def _agent(opened: SessionView, patch: AgentPatch, status: Status) -> dict[str, Any]:
    if status != "idle" or opened.head.claim:
        raise invalid("agent: cannot be changed while the session is running; interrupt it and wait until it is idle")
    if patch.mcp_servers:
        raise not_available("agent.mcp_servers: MCP servers are")
    if patch.tools is UNSET:
        return opened.config.agent
    return {**opened.config.agent, "tools": resolve_tools(patch.tools, "agent.tools")}


async def archive(ledger: SessionRepository, key: Key) -> SessionView:
    """The session after it was archived; archived once, nothing changes. Raises Problem 400 while it runs, and 404."""
    await _at_rest(ledger, key)
    opened = await ledger.change(key, lambda opened: archived(opened, ledger.status(opened)))
    await ledger.release(key, files=False)
    return opened


def archived(opened: SessionView, status: Status) -> list[ev.Event]:
    """The events that end a session: an error result for each call that the client never answered, then the end."""
    head = opened.head
    if head.archived:
        return []
    _refuse_running(head, status, "archived")
    closed: list[ev.Event] = [
        ev.AgentToolResult(
            id=new_id("sevt"),
            thread=call.thread,
            tool_use_id=call.id,
            content=[{"type": "text", "text": CLOSED}],
            is_error=True,
        )
        for call in head.calls
    ]
    thread = ev.ThreadStatusTerminated(
        id=new_id("sevt"),
        agent_name=str(opened.config.agent["name"]),
        session_thread_id=opened.config.primary_thread,
    )
    return [*closed, thread, ev.SessionStatusTerminated(id=new_id("sevt"))]


async def delete(ledger: SessionRepository, key: Key) -> None:
    """Leave a tombstone: from then on the session is not found. Raises Problem 400 while it runs, and 404."""
    await _at_rest(ledger, key)
    await ledger.change(key, lambda opened: _deleted(opened.head, ledger.status(opened)))
    await ledger.release(key, files=True)


def _deleted(head: Head, status: Status) -> list[ev.Event]:
    if not head.archived:
        _refuse_running(head, status, "deleted")
    return [ev.SessionDeleted(id=new_id("sevt"))]


async def _at_rest(ledger: SessionRepository, key: Key) -> None:
    """A harness may hold a resting session for a moment, to take an input that starts nothing: wait for that."""
    opened = await ledger.open(key)
    if opened.head.claim and opened.head.status == "idle" and ledger.status(opened) == "idle":
        await ledger.unclaimed(key, within=RELEASED_WITHIN)


def _refuse_running(head: Head, status: Status, what: str) -> None:
    problem: ApiError | None = None
    if status == "rescheduling":
        problem = invalid(
            f"the session waits to try again and cannot be {what}; interrupt it and wait until it is idle"
        )
    elif status == "running" or head.claim:
        problem = invalid(f"the session is running and cannot be {what}; interrupt it and wait until it is idle")
    if problem:
        raise problem
