"""`holdfast sessions` and `holdfast tail`: the list of sessions, and the events of one."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from anthropic import AsyncAnthropic, NotFoundError
from rich.console import Console

from holdfast.cli.client.event_stream import BEGINNING, event_stream, newest_event_id
from holdfast.cli.client.session_ids import resolve
from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.event_lines import event_line
from holdfast.cli.client.terminal.session_table import Row, fields, row, table

AT_ONCE: Final = 8
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
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(session: Any) -> Row:
        if session.status != "idle" or session.archived_at:
            return row(session, None)
        async with gate:
            return row(session, await _stop_reason(client, session.id))

    return list(await asyncio.gather(*map(one, found)))


async def _stop_reason(client: AsyncAnthropic, session: str) -> str | None:
    """Why the session became idle; None when it never ran, or was deleted in this moment."""
    try:
        page = await client.beta.sessions.events.list(session, order="desc", limit=1, types=["session.status_idle"])
    except NotFoundError:
        return None
    return next((event.stop_reason.type for event in page.data if event.type == "session.status_idle"), None)


class _Tail:
    """Prints numbered events from number `first` on."""

    def __init__(self, first: int, *, as_json: bool) -> None:
        self._first = first
        self._json = as_json
        self._console = Console(highlight=False)
        self._number = 0
        self._before: datetime | None = None

    def show(self, event: Any) -> None:
        self._number += 1
        if self._number >= self._first:
            if self._json:
                print(event.to_json(indent=None), flush=True)
            else:
                self._console.print(event_line(event, self._number, self._before), soft_wrap=True)
        self._before = getattr(event, "processed_at", None) or self._before


def note(text: str) -> None:
    """Say something that is no event; not into the output, which may be read by a program."""
    print(f"({text})", file=sys.stderr, flush=True)


async def show_live(target: Target, session: str, first: int, *, as_json: bool) -> int:
    """Every event from number `first` on, stored ones and then those that come, until the session has ended."""
    show = _Tail(first, as_json=as_json)
    async with target.client() as client:
        session = await resolve(client, session)
        newest = await newest_event_id(client, session)
        async for event, waits in _with_rest(event_stream(client, session, BEGINNING, deltas=False, note=note), newest):
            if event is not None:
                show.show(event)
                if event.type in ("session.status_terminated", "session.deleted"):
                    break
            if waits:
                note("idle; waiting for new events, Ctrl-C ends")
    return 0


async def _with_rest(events: Any, newest: str) -> AsyncIterator[tuple[Any, bool]]:
    """Each event, with True at the first one, not before `newest`, after which the session is idle."""
    passed, idle, said = newest == BEGINNING, True, False
    if passed:
        said = True
        yield None, True
    async with aclosing(events) as following:
        async for event in following:
            passed = passed or event.id == newest
            if event.type.startswith("session.status_"):
                idle = event.type == "session.status_idle"
            waits = passed and idle and not said
            said = said or waits
            yield event, waits


async def show_stored(target: Target, session: str, first: int, *, as_json: bool) -> int:
    """Every stored event from number `first` on."""
    show = _Tail(first, as_json=as_json)
    async with target.client() as client:
        session = await resolve(client, session)
        async for event in client.beta.sessions.events.list(session, order="asc", limit=1000):
            show.show(event)
    return 0
