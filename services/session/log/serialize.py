"""What clients see: a stored event, a session and a position as objects of the wire. Pure.

An event is shown as stored, with explicit nulls for optional fields, without the fields whose name begins with `_`
(ours) and with `processed_at`: the time of its commit plus its index, in microseconds.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.head import Head, Status, advance, waits_for_client
from holdfast.session.http import timestamps

MICROS: Final = 1_000_000

_POSITION: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,9})")

_SPARSE: Final = frozenset({"session.updated"})
"""Types in which an absent field means something: they get no explicit nulls."""

_EXTRA: Final[dict[str, dict[str, None]]] = {"session.usage": {"budget": None}}


class Position(msgspec.Struct, frozen=True, order=True):
    """Where an event stands in its log: the sequence of its commit and its index in it. Orders like the log."""

    seq: int
    index: int

    def __str__(self) -> str:
        return f"{self.seq}-{self.index}"


START: Final = Position(0, 0)


def parse_position(text: str) -> Position | None:
    """The position that `text` spells, or None."""
    found = _POSITION.fullmatch(text)
    return Position(int(found[1]), int(found[2])) if found else None


class Shown(msgspec.Struct, frozen=True):
    """An event that clients may see: where it stands, when it was processed (microseconds), and itself."""

    position: Position
    at: int
    event: ev.Event

    @property
    def type(self) -> str:
        return ev.type_of(self.event)


def shown(stored: Stored, after: Position = START) -> Iterator[Shown]:
    """The events of a commit that clients may see, behind `after` if that lies in this commit."""
    first = after.index + 1 if after.seq == stored.seq else 0
    for index in range(first, len(stored.commit.events)):
        event = stored.commit.events[index]
        if ev.is_shown(event):
            yield Shown(Position(stored.seq, index), stored.commit.at + index, event)


def _fields(kind: type[ev.Event]) -> tuple[tuple[str, str], ...]:
    """Attribute and wire name of the fields that are shown, the id apart."""
    return tuple(
        (f.name, f.encode_name)
        for f in msgspec.structs.fields(kind)
        if not f.encode_name.startswith("_") and f.name != "id"
    )


SHOWN_TYPES: Final = frozenset(
    tag for kind in ev.AnyEvent.__args__ if not (tag := str(kind.__struct_config__.tag)).startswith("holdfast.")
)
"""Types of events that clients may see."""

_SHOWN_FIELDS: Final = {kind: _fields(kind) for kind in ev.AnyEvent.__args__}


def event_object(event: ev.Event, processed_at: int | None) -> dict[str, Any]:
    """The wire object of an event; `processed_at` in microseconds, None while it is queued."""
    kind = ev.type_of(event)
    out: dict[str, Any] = {"id": event.id, "type": kind}
    sparse = kind in _SPARSE
    for name, wire in _SHOWN_FIELDS[type(event)]:
        value = getattr(event, name)
        if value is not None or not sparse:
            out[wire] = value
    if isinstance(event, ev.SessionUpdated) and event.title_cleared:
        out["title"] = None
    if kind in _EXTRA:
        out = {**_EXTRA[kind], **out}
    out["processed_at"] = None if processed_at is None else timestamps.text(processed_at)
    return out


def usage_object(head: Head, now: int) -> dict[str, Any]:
    """`usage` of a session: tokens so far and seconds at work, the present run included."""
    used = head.usage
    created = used.cache_creation_input_tokens
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cache_read_input_tokens": used.cache_read_input_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": created, "ephemeral_1h_input_tokens": 0} if created else None,
        "active_seconds": _active(head, now),
    }


def _active(head: Head, now: int) -> float:
    present = max(now - head.running_since, 0) if head.running_since else 0
    return round((head.active + present) / MICROS, 3)


def owes_a_turn(head: Head, waiting: Sequence[ev.ClientEvent]) -> bool:
    """Whether the session will run as soon as a harness takes the events that wait."""
    if head.archived or head.deleted:
        return False
    after = advance(head, waiting, head.at + 1)
    return (after.primary.todo or bool(after.calls)) and not waits_for_client(after)


def session_object(
    session_id: str, head: Head, config: ev.SessionConfig, *, now: int, status: Status | None = None
) -> dict[str, Any]:
    """The Session of the wire. `status` overrules the head's: a session whose input was accepted runs from then on."""
    active = _active(head, now)
    ended = head.archived or head.deleted
    return {
        "id": session_id,
        "type": "session",
        "status": status or head.status,
        "agent": config.agent,
        "environment_id": config.environment_id,
        "deployment_id": None,
        "title": config.title,
        "metadata": config.metadata,
        "vault_ids": config.vault_ids,
        "resources": config.resources,
        "usage": usage_object(head, now),
        "stats": {
            "active_seconds": active,
            "duration_seconds": round(max((head.updated if ended else now) - head.created, 0) / MICROS, 3),
        },
        "budget": None,
        "outcome_evaluations": [],
        "created_at": timestamps.text(head.created),
        "updated_at": timestamps.text(head.updated),
        "archived_at": timestamps.text(head.archived) if head.archived else None,
    }
