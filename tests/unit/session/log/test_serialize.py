"""Events and sessions as clients see them."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, Stored
from holdfast.bus.head import Head, Usage
from holdfast.bus.tools import SANDBOX
from holdfast.session.log.schema import EVENT_TYPES, VISIBLE_KINDS, Session
from holdfast.session.log.serialize import (
    Position,
    event_to_api,
    parse_position,
    session_to_api,
    visible_events,
)

AT = 1_790_000_000_000_001


def commit(*events: ev.AnyEvent) -> Stored:
    return Stored(7, Commit(id="cmt_1", at=AT, by="test", head=Head(), events=list(events)))


def test_each_event_has_its_own_microsecond_and_position() -> None:
    first, second = visible_events(
        commit(ev.SessionStatusRunning(id="a"), ev.AgentThinking(id="b", block={"signature": "s"}))
    )
    assert (first.processed_at, second.processed_at) == (AT, AT + 1)
    assert str(second.position) == "7-1"
    assert event_to_api(second.event, second.processed_at) == {
        "id": "b",
        "type": "agent.thinking",
        "processed_at": "2026-09-21T14:13:20.000002Z",
    }


def test_our_own_events_are_not_shown() -> None:
    stored = commit(
        ev.HandBound(hand=SANDBOX, id="a", generation="g", worker="w"),
        ev.AgentMessage(id="b", content=[]),
        ev.Unknown(id="c", of="future.type"),
    )
    assert [one.event.id for one in visible_events(stored)] == ["b"]
    assert [str(one.position) for one in visible_events(stored)] == ["7-1"]


def test_a_commit_is_shown_behind_a_position_in_it() -> None:
    stored = commit(ev.AgentMessage(id="a", content=[]), ev.AgentMessage(id="b", content=[]))
    assert [one.event.id for one in visible_events(stored, Position(7, 0))] == ["b"]
    assert [one.event.id for one in visible_events(stored, Position(6, 5))] == ["a", "b"]


def test_unset_fields_are_explicit_nulls() -> None:
    interrupt = event_to_api(ev.UserInterrupt(id="a"), None)
    assert interrupt == {"id": "a", "type": "user.interrupt", "session_thread_id": None, "processed_at": None}
    end = ev.ModelRequestEnd(id="a", model_request_start_id="s", model_usage=ev.ModelUsage(), stop="end_turn")
    assert msgspec.to_builtins(event_to_api(end, None)) == {
        "id": "a",
        "type": "span.model_request_end",
        "model_request_start_id": "s",
        "is_error": None,
        "model_usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "speed": None,
        },
        "processed_at": None,
    }
    assert event_to_api(ev.SessionUsage(id="a", usage={}), None)["budget"] is None


def test_an_update_shows_only_what_changed() -> None:
    assert set(event_to_api(ev.SessionUpdated(id="a", title="t"), AT)) == {"id", "type", "title", "processed_at"}
    cleared = event_to_api(ev.SessionUpdated(id="a", title_cleared=True), AT)
    assert cleared["title"] is None
    assert "metadata" not in cleared


@given(st.sampled_from(VISIBLE_KINDS))
def test_no_field_of_ours_ever_shows(kind: Any) -> None:
    fields = {f.name: f for f in msgspec.structs.fields(kind)}
    event = kind(**{name: msgspec.convert(_sample(f.type), f.type) for name, f in fields.items() if f.required})
    body = msgspec.json.decode(msgspec.json.encode(event_to_api(event, AT)))
    assert not [name for name in body if name.startswith("_")]
    assert body["type"] == str(kind.__struct_config__.tag)


@given(st.sampled_from(VISIBLE_KINDS))
def test_each_event_has_the_fields_of_its_published_type(kind: Any) -> None:
    fields = {f.name: f for f in msgspec.structs.fields(kind)}
    event = kind(**{name: msgspec.convert(_sample(f.type), f.type) for name, f in fields.items() if f.required})
    raw = msgspec.json.encode(event_to_api(event, AT))
    read = msgspec.json.decode(raw, type=EVENT_TYPES[str(kind.__struct_config__.tag)])
    assert msgspec.json.decode(msgspec.json.encode(read)) == msgspec.json.decode(raw)


def test_the_published_type_of_an_update_leaves_out_what_did_not_change() -> None:
    for update in (ev.SessionUpdated(id="a", title="t"), ev.SessionUpdated(id="a", title_cleared=True, metadata={})):
        raw = msgspec.json.encode(event_to_api(update, AT))
        read = msgspec.json.decode(raw, type=EVENT_TYPES["session.updated"])
        assert msgspec.json.decode(msgspec.json.encode(read)) == msgspec.json.decode(raw)


def _sample(kind: Any) -> Any:
    if kind is str:
        return "x"
    if kind is ev.StopReason:
        return {"type": "end_turn"}
    if kind is ev.ModelUsage or getattr(kind, "__origin__", None) is dict:
        return {}
    if getattr(kind, "__origin__", None) is list:
        return []
    return kind.__args__[0]


@given(st.integers(0, 10**17), st.integers(0, 10**8))
def test_a_position_is_read_as_it_was_written(seq: int, index: int) -> None:
    assert parse_position(str(Position(seq, index))) == Position(seq, index)


@given(st.text())
def test_other_text_is_no_position(text: str) -> None:
    found = parse_position(text)
    assert found is None or text.isascii()


CONFIG = ev.SessionConfig(
    id="c", tenant="t", agent={"id": "agent_1"}, environment_id="env_1", environment={}, primary_thread="sthr_1"
)


def as_json(session: Session) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(session))


def test_a_session_is_written_with_its_fields_in_this_order() -> None:
    found = as_json(session_to_api("sesn_1", Head(created=AT, updated=AT), CONFIG, now=AT))
    assert list(found) == [
        "id", "type", "status", "agent", "environment_id", "deployment_id", "title", "metadata", "vault_ids",
        "resources", "usage", "stats", "budget", "outcome_evaluations", "created_at", "updated_at", "archived_at",
    ]  # fmt: skip


def test_a_new_session_is_at_rest_with_empty_counts() -> None:
    found = as_json(session_to_api("sesn_1", Head(created=AT, updated=AT), CONFIG, now=AT + 2_500_000))
    assert found["status"] == "idle"
    assert found["usage"] == {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": None,
        "active_seconds": 0,
    }
    assert found["stats"] == {"active_seconds": 0, "duration_seconds": 2.5}
    assert found["resources"] == found["outcome_evaluations"] == found["vault_ids"] == []
    assert found["archived_at"] is None


def test_active_seconds_tick_while_a_session_runs_and_stand_still_after_its_end() -> None:
    running = Head(created=AT, updated=AT, running_since=AT + 1_000_000, active=500_000, usage=Usage(1, 2, 3, 4))
    found = as_json(session_to_api("s", running, CONFIG, now=AT + 3_000_000))
    assert found["usage"]["active_seconds"] == 2.5
    assert found["usage"]["cache_creation"] == {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0}
    ended = Head(created=AT, updated=AT + 4_000_000, archived=AT + 4_000_000)
    assert session_to_api("s", ended, CONFIG, now=AT + 9_000_000).stats.duration_seconds == 4
    assert session_to_api("s", ended, CONFIG, now=AT).status == "terminated"
