"""Public events as messages of the stream of public events: CloudEvents 1.0 in the binary mode of NATS. Pure.

The body is the event as the API shows it. The attributes of the CloudEvent are headers (`ce-…`). Two headers are ours:
where the event stands in the log, which is how a publisher knows where to go on (rule 30), and who published it.
"""

import re
from typing import Final

import msgspec

from holdfast.bus import streams
from holdfast.bus.ids import Key
from holdfast.bus.times import time_text
from holdfast.bus.traceparent import traceparent_of

SPEC_VERSION: Final = "1.0"

MAX_BODY_BYTES: Final = streams.MAX_MESSAGE_BYTES - 64 * 1024
"""A larger event has no body, and `ce-dataref` names the list in which it is found."""

LOG_HEADER: Final = "Holdfast-Log"
"""`<epoch of the streams>/<sequence of the commit>-<index of the event in it>`."""

PUBLISHER_HEADER: Final = "Holdfast-Publisher"

TRACE_HEADER: Final = "ce-traceparent"
"""The attribute of the CloudEvents extension for distributed tracing: the span in which the event arose."""

_LOG_TEXT: Final = re.compile(r"([0-9a-f]{1,64})/([0-9]{1,18})-([0-9]{1,9})")


class LogPlace(msgspec.Struct, frozen=True, order=True):
    """Where an event stands in the log of its cell: the sequence of its commit, and its index in the commit."""

    seq: int
    index: int


LOG_START: Final = LogPlace(0, -1)
"""Before the first event."""


class PublicEvent(msgspec.Struct, frozen=True):
    """An event to publish. `at` is its `processed_at` in microseconds since 1970, `data` the JSON that clients see."""

    key: Key
    id: str
    type: str
    at: int
    place: LogPlace
    data: bytes
    traceparent: str = ""
    """W3C trace context of the span that wrote it to the log, as of a turn or a request; empty: it has none."""


class PublicEnd(msgspec.Struct, frozen=True):
    """The end of the stream of public events: what the next append expects, and how far the log is published."""

    seq: int
    """The last sequence of the stream; 0 if nothing was ever stored."""
    epoch: str = ""
    """The epoch of the streams that `place` belongs to."""
    place: LogPlace = LOG_START
    publisher: str = ""
    """Who published the last message."""


class PublicState(msgspec.Struct, frozen=True):
    """The stream of public events of a cell. `created` names it: one that is made anew has another time."""

    created: str
    last_seq: int


class StoredPublicEvent(msgspec.Struct, frozen=True):
    """A public event in the stream. `epoch` and `place` say where it stands in the log; `data` is its JSON."""

    seq: int
    session: str
    id: str
    type: str
    at: str
    """Its `processed_at`, RFC 3339."""
    epoch: str
    place: LogPlace
    data: bytes
    traceparent: str = ""


def source_of(key: Key) -> str:
    """The attribute `source`: with the id of an event it is unique."""
    return f"/cells/{key.cell}/tenants/{key.tenant}"


def headers_of(event: PublicEvent, epoch: str, publisher: str) -> dict[str, str]:
    """The headers of an event. All values are ASCII without spaces, quotes and percent signs, so none is escaped."""
    headers = {
        "Nats-Msg-Id": event.id,
        "ce-specversion": SPEC_VERSION,
        "ce-id": event.id,
        "ce-source": source_of(event.key),
        "ce-type": event.type,
        "ce-subject": event.key.session,
        "ce-time": time_text(event.at),
        "ce-datacontenttype": "application/json",
        LOG_HEADER: f"{epoch}/{event.place.seq}-{event.place.index}",
        PUBLISHER_HEADER: publisher,
    }
    if len(event.data) > MAX_BODY_BYTES:
        headers["ce-dataref"] = f"/v1/sessions/{event.key.session}/events"
    if event.traceparent:  # as an attribute of the CloudEvents extension, and where tracers of NATS look for it
        headers[TRACE_HEADER] = headers["traceparent"] = event.traceparent
    return headers


def body_of(event: PublicEvent) -> bytes:
    """The body of an event; empty if it is larger than a message may be."""
    return event.data if len(event.data) <= MAX_BODY_BYTES else b""


def stored_of(seq: int, headers: dict[str, str], data: bytes) -> StoredPublicEvent | None:
    """The public event of a message of the stream; None for a message that is not ours."""
    found = _LOG_TEXT.fullmatch(headers.get(LOG_HEADER, ""))
    names = ("ce-subject", "ce-id", "ce-type", "ce-time")
    if not found or not all(headers.get(name) for name in names):
        return None
    session, id_, type_, at = (headers[name] for name in names)
    place = LogPlace(int(found[2]), int(found[3]))
    parent = traceparent_of(headers, TRACE_HEADER)
    return StoredPublicEvent(seq, session, id_, type_, at, found[1], place, data, parent)


def end_of(seq: int, headers: dict[str, str]) -> PublicEnd:
    """The end of a stream whose last message has these headers. One that is not ours says nothing of the log."""
    found = _LOG_TEXT.fullmatch(headers.get(LOG_HEADER, ""))
    if not found:
        return PublicEnd(seq)
    return PublicEnd(seq, found[1], LogPlace(int(found[2]), int(found[3])), headers.get(PUBLISHER_HEADER, ""))
