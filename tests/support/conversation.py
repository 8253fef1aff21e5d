"""A session as a client sees it through the official SDK."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id
from tests.support.eventually import eventually
from tests.support.model import Json, said

MODEL = "claude-opus-4-6"
"""The model of the agents."""

NARROW_MODELS = {"HOLDFAST_MODELS_FILE": str(Path(__file__).with_name("narrow_models.toml"))}
"""Settings of a stack in which the history of MODEL is summarised at 4,000 tokens."""

TOOLSET: Json = {"type": "agent_toolset_20260401"}
TURN_TIMEOUT_S = 40.0
"""Seconds within which a turn ends, also with takeovers on a busy machine."""


class Conversation:
    """A session with its client. `sent` has the ids of the events that the service accepted."""

    def __init__(self, client: AsyncAnthropic, session: str) -> None:
        self.client = client
        self.id = session
        self.sent: list[str] = []

    @classmethod
    async def begin(
        cls, client: AsyncAnthropic, *, tools: Sequence[Json] = (TOOLSET,), **session: Any
    ) -> "Conversation":
        """A new agent, environment and session."""
        name = new_id("test")
        agent = await client.beta.agents.create(model=MODEL, name=name, tools=cast("Any", list(tools)))
        environment = await client.beta.environments.create(name=name)
        made = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, **session)
        return cls(client, made.id)

    async def send(self, *events: Json) -> list[str]:
        """Send in one request; returns the ids that were given to the events."""
        answer = await self.client.beta.sessions.events.send(self.id, events=cast("Any", list(events)))
        ids = [str(cast("Any", e).id) for e in answer.data or ()]
        self.sent += ids
        return ids

    async def say(self, mark: str, text: str = "") -> list[str]:
        """Send the message that starts the scenario of that name."""
        return await self.send(said(mark, text))

    async def events(self, *types: str) -> list[Any]:
        """The whole history in order, or the events of these types."""
        page = self.client.beta.sessions.events.list(self.id, limit=1000)
        return [e async for e in page if not types or e.type in types]

    async def types(self) -> list[str]:
        return [e.type for e in await self.events()]

    async def until_events(self, *types: str, count: int = 1, within: float = TURN_TIMEOUT_S) -> list[Any]:
        """Wait until the history has `count` events of these types, and return them."""

        async def look() -> list[Any]:
            found = await self.events(*types)
            return found if len(found) >= count else []

        return await eventually(look, within=within, what=f"{count} of {types}")

    async def until_idle(self, stop: str = "end_turn", *, within: float = TURN_TIMEOUT_S) -> list[Any]:
        """Wait until the session is idle for the reason `stop` and has taken all that was sent; returns the history."""
        seen: list[Any] = []

        async def look() -> bool:
            seen[:] = await self.events()
            last = seen[-1] if seen else None
            taken = {e.id for e in seen}
            return (
                last is not None
                and last.type == "session.status_idle"
                and last.stop_reason.type == stop
                and all(i in taken for i in self.sent)
            )

        try:
            await eventually(look, within=within, what=f"idle ({stop})")
        except AssertionError as exc:
            history = "\n".join(str(e.to_dict(mode="json"))[:300] for e in seen[-30:])
            raise AssertionError(f"{exc}; the log of {self.id} ends with\n{history}") from None
        return list(seen)

    async def interrupt(self) -> None:
        await self.send({"type": "user.interrupt"})


def results(events: Sequence[Any]) -> dict[str, Any]:
    """The tool results of a history, by the id of their call."""
    return {e.tool_use_id: e for e in events if e.type == "agent.tool_result"}


def text(event: Any) -> str:
    """All text of a message or result."""
    return "".join(b.text for b in event.content or () if b.type == "text")
