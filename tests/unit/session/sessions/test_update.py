"""The events that update, archive and delete a session."""

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest

from holdfast.bus import events as ev
from holdfast.bus.head import Call, Claim, Head, Status, Thread
from holdfast.session.http.decoding import read_json
from holdfast.session.http.errors import ApiError
from holdfast.session.sessions.schema import SessionUpdate
from holdfast.session.sessions.update import ARCHIVED_CALL_RESULT, archive_events, delete_events, update_events

CONFIG = ev.SessionConfig(
    id="c",
    tenant="t",
    agent={"id": "agent_1", "name": "a", "tools": []},
    environment_id="env_1",
    environment={},
    primary_thread="sthr_1",
    title="one",
    metadata={"k": "v"},
)
CLAIMED = Head(claim=Claim(id="clm", by="h", trigger=1))


def ids() -> Callable[[str], str]:
    numbers = count(1)
    return lambda prefix: f"{prefix}_{next(numbers)}"


def update(head: Head = Head(), status: Status = "idle", **fields: Any) -> list[ev.Event]:  # noqa: B008  frozen
    params: SessionUpdate = read_json(msgspec.json.encode(fields), SessionUpdate)
    params.check_available()
    return update_events(head, CONFIG, status, params, ids())


def test_an_update_tells_what_changed_and_keeps_the_whole_configuration() -> None:
    told, config = update(title="two", metadata={"x": "y"})
    assert told == ev.SessionUpdated(id="sevt_1", title="two", metadata={"k": "v", "x": "y"})
    assert config == msgspec.structs.replace(CONFIG, id="sevt_2", title="two", metadata={"k": "v", "x": "y"})


def test_a_title_is_cleared_by_null_and_by_an_empty_text() -> None:
    for title in (None, ""):
        told, config = update(title=title)
        assert told == ev.SessionUpdated(id="sevt_1", title_cleared=True)
        assert isinstance(config, ev.SessionConfig)
        assert config.title is None


def test_an_update_that_changes_nothing_is_no_event() -> None:
    assert update() == []
    assert update(title="one", metadata={"k": "v"}, agent={}) == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"vault_ids": []}, "cannot be changed"),
        ({"budget": {"type": "limit"}}, "budgets are not available"),
        ({"agent": {"mcp_servers": [{}]}}, "MCP servers are not available"),
    ],
)
def test_a_field_that_cannot_be_changed_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError, match=says):
        update(**fields)


def test_the_agent_changes_only_while_the_session_is_idle() -> None:
    cases: tuple[tuple[Head, Status], ...] = ((Head(), "running"), (CLAIMED, "idle"))
    for head, status in cases:
        with pytest.raises(ApiError, match="while the session is running"):
            update(head, status, agent={"tools": []})
        assert update(head, status, title="two")
    with pytest.raises(ApiError, match="archived"):
        update(Head(archived=1), "terminated", title="two")


def test_an_archived_session_closes_its_open_calls() -> None:
    head = Head(calls=(Call("c1", "mine", "client"), Call("c2", "bash", "ask", thread="t1")))
    first, second, thread, end = archive_events(head, CONFIG, "idle", ids())
    for event, call, thread_id in ((first, "c1", ""), (second, "c2", "t1")):
        assert isinstance(event, ev.AgentToolResult)
        assert (event.tool_use_id, event.thread, event.is_error) == (call, thread_id, True)
        assert event.content == [{"type": "text", "text": ARCHIVED_CALL_RESULT}]
    assert thread == ev.ThreadStatusTerminated(id="sevt_3", agent_name="a", session_thread_id="sthr_1")
    assert end == ev.SessionStatusTerminated(id="sevt_4")
    assert archive_events(Head(archived=1), CONFIG, "terminated", ids()) == []


@pytest.mark.parametrize(
    ("head", "status"),
    [(Head(threads={"": Thread(status="running")}), "running"), (Head(), "running"), (CLAIMED, "idle")],
)
def test_a_running_session_is_neither_archived_nor_deleted(head: Head, status: Status) -> None:
    with pytest.raises(ApiError, match="is running and cannot be archived"):
        archive_events(head, CONFIG, status, ids())
    with pytest.raises(ApiError, match="is running and cannot be deleted"):
        delete_events(head, status, ids())
    with pytest.raises(ApiError, match="waits to try again and cannot be deleted"):
        delete_events(head, "rescheduling", ids())


def test_an_archived_session_may_be_deleted_though_a_harness_has_not_released_it() -> None:
    assert delete_events(Head(archived=1, claim=CLAIMED.claim), "terminated", ids()) == [ev.SessionDeleted(id="sevt_1")]
