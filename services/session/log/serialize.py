"""Stored events, sessions and positions as clients see them. Pure.

An event is sent as it is stored, with three differences: optional fields that are not set are null, fields whose JSON
name begins with `_` (ours) are left out, and `processed_at` is added: the time of its commit plus its index in the
commit, in microseconds.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.head import Head, Status
from holdfast.bus.times import SECOND_US
from holdfast.bus.usage import active_seconds, usage_object
from holdfast.session.http import timestamps
from holdfast.session.log.schema import (
    SPARSE_TYPES,
    Session,
    SessionStats,
    SessionUsage,
    visible_fields,
)

_POSITION: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,9})")

_LEADING_FIELDS: Final[dict[str, dict[str, None]]] = {"session.usage": {"budget": None}}
"""Fields that stand before the id, by type of the event."""

_VISIBLE_FIELDS: Final = {kind: visible_fields(kind) for kind in ev.AnyEvent.__args__}


class Position(msgspec.Struct, frozen=True, order=True):
    """Where an event stands in its log: the sequence of its commit and its index in it. Orders as the log does."""

    seq: int
    index: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.index}"


START: Final = Position(0, 0)
"""Before the first event of any log."""


def parse_position(text: str) -> Position | None:
    """The position that `text` spells, or None."""
    found = _POSITION.fullmatch(text)
    return Position(int(found[1]), int(found[2])) if found else None


def after_commit(seq: int) -> Position:
    """The position behind all events of the commit with that sequence."""
    return Position(seq + 1, -1)


class VisibleEvent(msgspec.Struct, frozen=True):
    """An event that clients may see, with its position; `processed_at` in microseconds since 1970."""

    position: Position
    processed_at: int
    event: ev.Event

    @property
    def type(self) -> str:
        return ev.type_of(self.event)


def visible_events(stored: Stored, after: Position = START) -> Iterator[VisibleEvent]:
    """The events of a commit that clients may see; only those behind `after` if that lies in this commit."""
    first = after.index + 1 if after.seq == stored.seq else 0
    for index in range(first, len(stored.commit.events)):
        event = stored.commit.events[index]
        if ev.is_shown(event):
            yield VisibleEvent(Position(stored.seq, index), stored.commit.at + index, event)


def event_to_api(event: ev.Event, processed_at: int | None) -> dict[str, Any]:
    """The JSON object of an event; `processed_at` in microseconds since 1970, None while it waits in the inbox."""
    type_ = ev.type_of(event)
    out: dict[str, Any] = {**_LEADING_FIELDS.get(type_, {}), "id": event.id, "type": type_}
    sparse = type_ in SPARSE_TYPES
    for name, json_name in _VISIBLE_FIELDS[type(event)]:
        value = getattr(event, name)
        if value is not None or not sparse:
            out[json_name] = value
    if isinstance(event, ev.SessionUpdated) and event.title_cleared:
        out["title"] = None
    out["processed_at"] = None if processed_at is None else timestamps.text(processed_at)
    return out


def usage_to_api(head: Head, now: int) -> SessionUsage:
    """The usage of a session at `now` (microseconds since 1970): tokens so far and seconds in the status `running`."""
    return msgspec.convert(usage_object(head, now), SessionUsage)


def session_to_api(
    session_id: str, head: Head, config: ev.SessionConfig, *, now: int, status: Status | None = None
) -> Session:
    """A session at `now` (microseconds since 1970). `status` replaces that of the head, which lags behind the inbox."""
    ended = head.archived or head.deleted
    duration_us = max((head.updated if ended else now) - head.created, 0)
    return Session(
        id=session_id,
        status=status or head.status,
        agent=config.agent,
        environment_id=config.environment_id,
        title=config.title,
        metadata=config.metadata,
        vault_ids=config.vault_ids,
        resources=config.resources,
        usage=usage_to_api(head, now),
        stats=SessionStats(
            active_seconds=active_seconds(head, now), duration_seconds=round(duration_us / SECOND_US, 3)
        ),
        created_at=timestamps.text(head.created),
        updated_at=timestamps.text(head.updated),
        archived_at=timestamps.text(head.archived) if head.archived else None,
    )
