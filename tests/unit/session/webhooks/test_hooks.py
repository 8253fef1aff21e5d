"""Which webhook events a public event becomes."""

import json
from typing import Any, get_args

import msgspec
import pytest
from anthropic.types.beta import BetaWebhookEventData

from holdfast.bus.public_events import LogPlace, StoredPublicEvent
from holdfast.session.webhooks.hooks import EVENT_TYPES, body_of, hooks_of


def public(type_: str, **fields: Any) -> StoredPublicEvent:
    data = json.dumps({"id": "sevt_abc", "type": type_, **fields}).encode()
    place = LogPlace(7, 2)
    return StoredPublicEvent(3, "sesn_a0_x", "sevt_abc", type_, "2026-11-27T00:00:00.000001Z", "e", place, data)


def test_every_type_is_one_of_the_official_sdk() -> None:
    union = get_args(get_args(BetaWebhookEventData)[0])
    known = {get_args(kind.model_fields["type"].annotation)[0] for kind in union}
    assert set(EVENT_TYPES) <= known
    assert len(set(EVENT_TYPES)) == len(EVENT_TYPES)


def test_every_part_is_in_the_trace_of_its_event() -> None:
    event = public("session.status_idle", stop_reason={"type": "requires_action", "event_ids": ["x"]})
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert [hook.traceparent for hook in hooks_of(msgspec.structs.replace(event, traceparent=parent))] == [parent] * 2


def test_idle_for_the_client_is_two_events_with_ids_of_their_own() -> None:
    idle, action = hooks_of(public("session.status_idle", stop_reason={"type": "requires_action", "event_ids": ["x"]}))
    assert (idle.type, action.type) == ("session.status_idled", "session.requires_action")
    assert (idle.id, action.id) == ("whe_abc", "whe_abc_1")
    assert (idle.part, action.part, idle.place) == (0, 1, LogPlace(7, 2))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"stop_reason": 3}', b"\xff", b'{"stop_reason": {"type": 1}}'])
def test_an_idle_event_that_cannot_be_read_is_idle(data: bytes) -> None:
    event = public("session.status_idle")
    made = StoredPublicEvent(3, event.session, event.id, event.type, event.at, "e", event.place, data)
    assert [hook.type for hook in hooks_of(made)] == ["session.status_idled"]


@pytest.mark.parametrize("type_", ["agent.message", "session.usage", "session.error", "session.later"])
def test_other_types_become_none(type_: str) -> None:
    assert hooks_of(public(type_)) == []


def test_a_body_says_who_and_what_and_nothing_else() -> None:
    (hook,) = hooks_of(public("session.updated", title="canary"))
    assert json.loads(body_of(hook, "acme")) == {
        "type": "event",
        "id": "whe_abc",
        "created_at": "2026-11-27T00:00:00.000001Z",
        "data": {
            "type": "session.updated", "id": "sesn_a0_x", "organization_id": "acme", "workspace_id": "acme",
        },
    }  # fmt: skip
