"""Webhook events: which ones a public event becomes, and their bodies, in the shapes of the official SDK. Pure.

A body is thin: it names the session and what happened. The receiver asks the API for more. So nothing that was said in
a session leaves through a webhook.
"""

from typing import Final

import msgspec

from holdfast.bus.public_events import LogPlace, StoredPublicEvent
from holdfast.bus.times import time_text

_TYPES: Final = {
    "session.status_running": "session.status_run_started",
    "session.status_idle": "session.status_idled",
    "session.status_rescheduled": "session.status_rescheduled",
    "session.status_terminated": "session.status_terminated",
    "session.updated": "session.updated",
    "session.deleted": "session.deleted",
}
"""The type of a webhook event by that of its public event."""

_REQUIRES_ACTION: Final = "session.requires_action"
"""A further webhook event of a session that is idle because it waits for its client."""

EVENT_TYPES: Final = (*_TYPES.values(), _REQUIRES_ACTION)
"""What an endpoint can be told of."""

TEST_TYPE: Final = "webhook.test"


class _StopReason(msgspec.Struct):
    type: str = ""


class _Idle(msgspec.Struct):
    stop_reason: _StopReason = msgspec.field(default_factory=_StopReason)


_IDLE: Final = msgspec.json.Decoder(_Idle)


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook event. `seq` is the sequence of its public event, `place` its place in the log."""

    seq: int
    epoch: str
    place: LogPlace
    part: int
    """Which of the webhook events of its public event it is, from 0."""
    id: str
    """The same at each attempt: a receiver knows by it that it has the event already."""
    type: str
    session: str
    created_at: str
    traceparent: str = ""
    """W3C trace context of the turn or the request in which the event arose; empty: it has none."""


def hooks_of(event: StoredPublicEvent) -> list[Hook]:
    """The webhook events of a public event, in order; none for a type that no endpoint is told of."""
    if event.type not in _TYPES:
        return []
    types = [_TYPES[event.type]]
    if event.type == "session.status_idle" and _stop_reason(event.data) == "requires_action":
        types.append(_REQUIRES_ACTION)
    tail = event.id.rpartition("_")[2]
    return [
        Hook(
            seq=event.seq,
            epoch=event.epoch,
            place=event.place,
            part=part,
            id=f"whe_{tail}" + (f"_{part}" if part else ""),
            type=type_,
            session=event.session,
            created_at=event.at,
            traceparent=event.traceparent,
        )
        for part, type_ in enumerate(types)
    ]


def _stop_reason(data: bytes) -> str:
    try:
        return _IDLE.decode(data).stop_reason.type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def body_of(hook: Hook, tenant: str) -> bytes:
    """The body of the request, as `client.beta.webhooks.unwrap` reads it."""
    return _body(hook.id, hook.created_at, hook.type, hook.session, tenant)


def test_body(event_id: str, webhook: str, tenant: str, now: int) -> bytes:
    """The body of a test event; `now` in microseconds since 1970."""
    return _body(event_id, time_text(now), TEST_TYPE, webhook, tenant)


def _body(event_id: str, created_at: str, type_: str, object_id: str, tenant: str) -> bytes:
    data = {"type": type_, "id": object_id, "organization_id": tenant, "workspace_id": tenant}
    return msgspec.json.encode({"type": "event", "id": event_id, "created_at": created_at, "data": data})
