"""Work of `holdfast sessions`: prints the newest sessions as a table, as lines with tabs, or as JSON."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from anthropic import AsyncAnthropic, NotFoundError
from rich.console import Console

from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.session_table import Row, fields, row, table

CONCURRENT_REQUESTS: Final = 8
"""Sessions whose last event is asked for at the same time."""


async def show_sessions(target: Target, limit: int, *, include_archived: bool, as_json: bool) -> int:
    """Print the newest sessions: a table on a terminal, lines with tabs in a pipe, or one JSON array."""
    async with target.client() as client:
        rows = await _rows(client, limit, include_archived=include_archived)
    if as_json:
        print(json.dumps(msgspec.to_builtins(rows), ensure_ascii=False, indent=2))
    elif not sys.stdout.isatty():
        for one in rows:
            print(fields(one))
    elif rows:
        console = Console(highlight=False)
        for line in table(rows, console.width, datetime.now(UTC)):
            console.print(line, soft_wrap=True)
    if not rows and not as_json:
        print('No sessions yet. Start one: holdfast run "your task"', file=sys.stderr)
    return 0


async def _rows(client: AsyncAnthropic, limit: int, *, include_archived: bool) -> list[Row]:
    found: list[Any] = []
    async for session in client.beta.sessions.list(limit=min(limit, 100), include_archived=include_archived):
        found.append(session)
        if len(found) == limit:
            break
    gate = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def one(session: Any) -> Row:
        if session.status != "idle" or session.archived_at:
            return row(session, None)
        async with gate:
            return row(session, await _stop_reason(client, session.id))

    return list(await asyncio.gather(*map(one, found)))


async def _stop_reason(client: AsyncAnthropic, session: str) -> str | None:
    """Why the session became idle; None when it never ran, or has just been deleted."""
    try:
        page = await client.beta.sessions.events.list(session, order="desc", limit=1, types=["session.status_idle"])
    except NotFoundError:
        return None
    return next((event.stop_reason.type for event in page.data if event.type == "session.status_idle"), None)
