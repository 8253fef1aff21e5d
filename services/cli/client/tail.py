"""Work of `holdfast tail`: prints the stored events of one session, then new ones as they come."""

import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from rich.console import Console

from holdfast.cli.client.event_stream import BEGINNING, event_stream, newest_event_id
from holdfast.cli.client.session_ids import resolve
from holdfast.cli.client.target import Target
from holdfast.cli.client.terminal.event_lines import event_line


class _Tail:
    """Counts events and prints those from number `first` on."""

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
    """Print a remark on standard error; standard output has events only."""
    print(f"({text})", file=sys.stderr, flush=True)


async def show_live(target: Target, session: str, first: int, *, as_json: bool) -> int:
    """Print every event from number `first` on, first the stored and then the new ones, until the session has ended."""
    show = _Tail(first, as_json=as_json)
    async with target.client() as client:
        session = await resolve(client, session)
        newest = await newest_event_id(client, session)
        async for event, waits in _idle_marked(
            event_stream(client, session, BEGINNING, deltas=False, note=note), newest
        ):
            if event is not None:
                show.show(event)
                if event.type in ("session.status_terminated", "session.deleted"):
                    break
            if waits:
                note("idle; waiting for new events, Ctrl-C ends")
    return 0


async def _idle_marked(events: Any, newest: str) -> AsyncIterator[tuple[Any, bool]]:
    """Each event with a flag, which is True once: when `newest` has passed and the session is idle.

    With no stored events (`newest` is BEGINNING) the pair `(None, True)` comes first.
    """
    passed, idle, marked = newest == BEGINNING, True, False
    if passed:
        marked = True
        yield None, True
    async with aclosing(events) as following:
        async for event in following:
            passed = passed or event.id == newest
            if event.type.startswith("session.status_"):
                idle = event.type == "session.status_idle"
            mark = passed and idle and not marked
            marked = marked or mark
            yield event, mark


async def show_stored(target: Target, session: str, first: int, *, as_json: bool) -> int:
    """Print every stored event from number `first` on; returns the exit code."""
    show = _Tail(first, as_json=as_json)
    async with target.client() as client:
        session = await resolve(client, session)
        async for event in client.beta.sessions.events.list(session, order="asc", limit=1000):
            show.show(event)
    return 0
