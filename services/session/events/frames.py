"""Events and deltas as frames of an event stream. Pure.

Each frame has the `event:` line that the SDK wants; that of an event of the log has an `id:` with its position.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from holdfast.bus.commands import Delta
from holdfast.session.log.serialize import Position, VisibleEvent, event_to_api

OPEN_COMMENT: Final = b": open\n\n"
"""The first bytes of a stream: a comment, which clients skip."""

PING_FRAME: Final = b'event: ping\ndata: {"type":"ping"}\n\n'


def frame(event_type: str, body: Any, position: Position | None = None) -> bytes:
    """One server-sent event."""
    data = msgspec.json.encode(body)
    if position is None:
        return b"event: %b\ndata: %b\n\n" % (event_type.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event_type.encode(), str(position).encode(), data)


def event_frame(event: VisibleEvent) -> bytes:
    """The frame of an event of the log."""
    return frame(event.type, event_to_api(event.event, event.processed_at), event.position)


def frames(items: Iterable[bytes | Delta]) -> bytes:
    """The frames of deltas, between those of events that are given as they are; neighbouring deltas are merged."""
    parts: list[bytes] = []
    deltas: list[Delta] = []

    def write_deltas() -> None:
        for delta in merge_deltas(deltas):
            body = delta_to_api(delta)
            parts.append(frame(body["type"], body))
        deltas.clear()

    for item in items:
        if isinstance(item, Delta):
            deltas.append(item)
        else:
            write_deltas()
            parts.append(item)
    write_deltas()
    return b"".join(parts)


def merge_deltas(deltas: Iterable[Delta]) -> list[Delta]:
    """The deltas with neighbouring pieces of one block as one, so that a slow reader gets fewer and longer frames."""
    out: list[Delta] = []
    for delta in deltas:
        last = out[-1] if out else None
        joins = last and not delta.start and not last.start and (last.event, last.index) == (delta.event, delta.index)
        if last and joins:
            out[-1] = Delta(last.event, last.kind, last.index, last.text + delta.text, thread=last.thread)
        else:
            out.append(delta)
    return out


def delta_to_api(delta: Delta) -> dict[str, Any]:
    """The JSON object of a delta (C.7)."""
    if delta.start:
        return {"type": "event_start", "event": {"type": delta.kind, "id": delta.event}}
    content = {"type": "text", "text": delta.text}
    return {
        "type": "event_delta",
        "event_id": delta.event,
        "delta": {"type": "content_delta", "index": delta.index, "content": content},
    }
