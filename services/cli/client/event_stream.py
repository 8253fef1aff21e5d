"""The live events of a session, each exactly once even if the connection is lost."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anthropic
import httpx2
from anthropic import AsyncAnthropic

from holdfast.process.backoff import Backoff
from holdfast.process.retry import Pauses

BEGINNING: Final = "0-0"
"""The position before the first event, as an event id."""

RECONNECT_TIMEOUT_S: Final = 60.0
"""Reconnecting is given up after this time."""

DELTA_TYPES: Final = ("agent.message", "agent.tool_result")
"""Types of events whose deltas are requested: answers, and the output of running tools."""

RECONNECT_BACKOFF: Final = Backoff(first_s=0.1, longest_s=2.0)


async def newest_event_id(client: AsyncAnthropic, session: str) -> str:
    """Id of the newest event, or BEGINNING."""
    page = await client.beta.sessions.events.list(session, order="desc", limit=1)
    return page.data[0].id if page.data else BEGINNING


async def event_stream(
    client: AsyncAnthropic,
    session: str,
    after: str,
    *,
    deltas: bool,
    note: Callable[[str], None],
    opened: Callable[[], None] = lambda: None,
) -> AsyncGenerator[Any]:
    """Every event after the id `after`, without end; with `deltas` also the deltas of DELTA_TYPES.

    `opened` is called at each connection. Deltas that are sent after its first call are not missed.

    Raises APIError if the session was deleted, or the API does not answer for RECONNECT_TIMEOUT_S.
    """
    pauses, lost_at = Pauses(RECONNECT_BACKOFF), 0.0
    clock = asyncio.get_running_loop().time
    kinds: list[Any] = [*DELTA_TYPES] if deltas else []  # the SDK knows fewer kinds than our API
    while True:
        try:
            try:
                stream = await client.beta.sessions.events.stream(
                    session, event_deltas=kinds, extra_query={"after": after}
                )
            except anthropic.BadRequestError:
                if kinds != [*DELTA_TYPES]:
                    raise
                kinds = ["agent.message"]  # a server that does not stream the output of tools
                continue
            opened()
            if lost_at:
                note("connected again")
            lost_at = 0.0
            async with stream:
                async for event in stream:
                    if event.type != "event_start" and event.type != "event_delta":  # noqa: PLR1714  narrows the type
                        after = event.id or after
                    yield event
        except (anthropic.APIConnectionError, anthropic.InternalServerError, httpx2.TransportError):
            if lost_at and clock() - lost_at > RECONNECT_TIMEOUT_S:
                raise
        if not lost_at:
            note("the connection was lost, connecting again")
            lost_at = clock()
        await pauses.wait()
