"""Sessions and dead letters of tasks, as clients see them."""

import asyncio
from typing import Any

import httpx
from anthropic import Anthropic

from tests.support.eventually import eventually


def sessions_of(sync: Anthropic, kind: str) -> list[Any]:
    """The sessions that tasks of that kind have started, the oldest first."""
    listed = sync.beta.sessions.list(limit=100, order="asc", include_archived=True)
    return [session for session in listed if session.metadata.get("task_kind") == kind]


def messages_of(sync: Anthropic, session_id: str) -> list[str]:
    """The texts of the messages that the session has got, queued ones too."""
    events = sync.beta.sessions.events.list(session_id, types=["user.message"])
    return [block.text for event in events for block in event.content]  # type: ignore[union-attr]


async def started(sync: Anthropic, kind: str, count: int = 1) -> list[Any]:
    """Wait for that many sessions of the kind, each with a message."""

    async def look() -> list[Any]:
        found = await asyncio.to_thread(sessions_of, sync, kind)
        got = [await asyncio.to_thread(messages_of, sync, session.id) for session in found]
        return found if len(found) == count and all(got) else []

    return await eventually(look, what=f"{count} sessions of {kind}", within=20)


def dead(http: httpx.Client, kind: str) -> list[dict[str, Any]]:
    """The dead tasks of that kind."""
    answer = http.get("/v1/tasks?limit=100")
    assert answer.status_code == 200, answer.text
    return [task for task in answer.json()["data"] if task["kind"] == kind]


async def died(http: httpx.Client, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for that many dead tasks of the kind."""

    async def look() -> list[dict[str, Any]] | bool:
        found = await asyncio.to_thread(dead, http, kind)
        return (found or True) if len(found) == count else False

    found = await eventually(look, what=f"{count} dead tasks of {kind}", within=20)
    return found if isinstance(found, list) else []
