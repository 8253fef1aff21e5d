"""The list of sessions: the status of each in a word, and lines that fit the terminal. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from holdfast.cli.client.session_ids import short
from holdfast.cli.sanitize import clean_line

FAILED_STOP_REASONS: Final = frozenset({"retries_exhausted", "refusal", "budget_reached"})
"""Reasons for which an agent stopped without having done its task."""

MIN_COLUMNS_WITH_AGE: Final = 60
MIN_COLUMNS_WITH_TOKENS: Final = 100
"""Smallest widths, in columns, of a terminal that shows the age or the tokens of a session."""

MIN_TITLE_COLUMNS: Final = 8
"""The title has at least this many columns. If there is no room for them, the status is truncated."""

_STYLES: Final = {"running": "green", "waits for you": "bold yellow", "failed": "red", "retrying": "yellow"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One session as it is listed."""

    id: str
    status: str
    """`running`, `retrying`, `waits for you`, `idle`, `failed`, `archived` or `ended`."""
    title: str
    agent: str
    created_at: datetime
    updated_at: datetime
    input_tokens: int
    output_tokens: int


def status_of(session: Any, stop_reason: str | None) -> str:
    """The status of a session for people. `stop_reason` is that of its last `session.status_idle` event."""
    if session.archived_at:
        return "archived"
    match session.status:
        case "rescheduling":
            return "retrying"
        case "terminated":
            return "ended"
        case "idle" if stop_reason == "requires_action":
            return "waits for you"
        case "idle" if stop_reason in FAILED_STOP_REASONS:
            return "failed"
        case status:
            return str(status)


def row(session: Any, stop_reason: str | None) -> Row:
    """A session of the API as it is listed."""
    return Row(
        id=session.id,
        status=status_of(session, stop_reason),
        title=session.title or f"({session.agent.name})",
        agent=session.agent.name,
        created_at=session.created_at,
        updated_at=session.updated_at,
        input_tokens=session.usage.input_tokens or 0,
        output_tokens=session.usage.output_tokens or 0,
    )


def age(then: datetime, now: datetime) -> str:
    """How long ago something was, in one unit; a date when it was more than a month ago."""
    seconds = max(0, int((now - then).total_seconds()))
    if seconds < 60:
        return f"{seconds} s ago"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86400:
        return f"{seconds // 3600} h ago"
    days = seconds // 86400
    return (f"{days} day{'s' if days > 1 else ''} ago") if days <= 31 else then.astimezone().strftime("%Y-%m-%d")


def truncate(text: str, width: int) -> str:
    """`text` in at most `width` columns of a terminal, with `…` where something is missing."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def table(rows: Sequence[Row], width: int, now: datetime) -> list[Text]:
    """A heading and one line for each session, none wider than `width` columns; the title comes last."""
    columns = [["session", *(short(row.id) for row in rows)], ["status", *(row.status for row in rows)]]
    if width >= MIN_COLUMNS_WITH_AGE:
        columns.append(["active", *(age(row.updated_at, now) for row in rows)])
    if width >= MIN_COLUMNS_WITH_TOKENS:
        columns.append(["tokens in/out", *(f"{row.input_tokens}/{row.output_tokens}" for row in rows)])
        columns.append(["agent", *(truncate(clean_line(row.agent), 20) for row in rows)])
    widths = [max(map(cell_len, column)) for column in columns]
    room = width - sum(widths) - 2 * len(widths)
    if room < MIN_TITLE_COLUMNS:
        widths[1] = max(4, widths[1] - (MIN_TITLE_COLUMNS - room))
        room = max(1, width - sum(widths) - 2 * len(widths))
    titles = ["title", *(clean_line(row.title) for row in rows)]
    lines: list[Text] = []
    for number, cells in enumerate(zip(*columns, strict=True)):
        line = Text(style="dim" if number == 0 else "")
        for place, (cell, space) in enumerate(zip(cells, widths, strict=True)):
            style = _STYLES.get(cell, "") if place == 1 else ""
            line.append(set_cell_size(truncate(cell, space), space), style)
            line.append("  ")
        line.append(truncate(titles[number], room))
        line.rstrip()
        lines.append(line)
    return lines


def fields(row: Row) -> str:
    """One session for a program: full values with a tab between them, the title last."""
    values = [row.id, row.status, row.created_at.isoformat(), row.updated_at.isoformat()]
    values += [str(row.input_tokens), str(row.output_tokens), clean_line(row.agent), clean_line(row.title)]
    return "\t".join(values)
