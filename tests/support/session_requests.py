"""Parts of requests about sessions, as tests send them through the SDK."""

from typing import Any, Final

from anthropic import AsyncAnthropic

SAY: Final[dict[str, Any]] = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
TOOL: Final[dict[str, Any]] = {
    "type": "custom", "name": "mine", "description": "d", "input_schema": {"type": "object"},
}  # fmt: skip


async def list_events(client: AsyncAnthropic, session_id: str, **more: Any) -> list[Any]:
    """Every event of the session, page by page."""
    return [e async for e in client.beta.sessions.events.list(session_id, **more)]
