"""Sessions as a table, and the events of one."""

from contextlib import aclosing

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.client.follow import BEGINNING, follow
from holdfast.cli.client.target import Target
from holdfast.cli.client.transcript import Transcript


async def show_sessions(target: Target, limit: int, *, include_archived: bool) -> int:
    """A table of the newest sessions."""
    table = Table("session", "status", "title", "agent", "created", "tokens in/out", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    shown = 0
    async with target.client() as client:
        page_size = min(limit, 100)
        async for session in client.beta.sessions.list(limit=page_size, include_archived=include_archived):
            if shown == limit:
                break
            shown += 1
            usage = session.usage
            table.add_row(
                session.id,
                "archived" if session.archived_at else session.status,
                Text(session.title or ""),
                Text(session.agent.name),
                session.created_at.astimezone().strftime("%m-%d %H:%M"),
                f"{usage.input_tokens or 0}/{usage.output_tokens or 0}",
            )
    console = Console(highlight=False)
    console.print(table if shown else 'No sessions yet. Start one: holdfast run "your task"')
    return 0


async def show_live(target: Target, session: str, first: int) -> int:
    """Every event from number `first` on, stored ones and then those that come, until the session has ended."""
    show = Transcript(Console(highlight=False))
    number = 0
    async with (
        target.client() as client,
        aclosing(follow(client, session, BEGINNING, deltas=False, note=show.note)) as events,
    ):
        async for event in events:
            number += 1
            if number >= first:
                show.event(event, number=number)
            if event.type in ("session.status_terminated", "session.deleted"):
                break
    return 0


async def show_stored(target: Target, session: str, first: int) -> int:
    """Every stored event from number `first` on."""
    show = Transcript(Console(highlight=False))
    number = 0
    async with target.client() as client:
        async for event in client.beta.sessions.events.list(session, order="asc", limit=1000):
            number += 1
            if number >= first:
                show.event(event, number=number)
    return 0
