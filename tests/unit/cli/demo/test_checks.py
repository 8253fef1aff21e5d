"""Each check at the end of the demo fails when its claim does not hold."""

from pathlib import Path

import pytest

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored, commit
from holdfast.bus.ids import new_id
from holdfast.cli.demo import repository
from holdfast.cli.demo.checks import Check, check
from holdfast.scripted_model.journal import Record

CALL = ev.AgentToolUse(id="call", request="span", name="bash", input={"command": "python3 -m unittest"})
RESULT = ev.AgentToolResult(id="result", tool_use_id="call", content=[{"type": "text", "text": "Ran 3 tests\n\nOK\n"}])
GOOD: list[ev.Event] = [
    ev.UserMessage(id="said", content=[]),
    ev.ModelRequestStart(id="span"),
    CALL,
    ev.ModelRequestEnd(id="end", model_request_start_id="span", model_usage=ev.ModelUsage()),
    RESULT,
    ev.SessionStatusIdle(id="idle", stop_reason=ev.StopReason("end_turn")),
]
ASKED = [Record(number=0, path="/v1/messages", status=200)]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    repository.seed(tmp_path)
    (tmp_path / repository.RUNS_FILE).write_text("run\n")
    return tmp_path


def failing(events: list[ev.Event], workspace: Path, asked: list[Record] | None = None) -> list[str]:
    made = commit(None, events, by="test", new_id=new_id, now=1)
    found: list[Check] = check([Stored(1, made)], ["said"], workspace, ASKED if asked is None else asked)
    return [c.claim for c in found if not c.holds]


def test_a_good_run_passes(workspace: Path) -> None:
    assert failing(GOOD, workspace) == []


def test_a_lost_message(workspace: Path) -> None:
    assert "nothing is lost" in failing(GOOD[1:], workspace)


def test_an_event_twice(workspace: Path) -> None:
    assert "nothing is lost" in failing([*GOOD, GOOD[0]], workspace)


def test_a_call_without_a_result(workspace: Path) -> None:
    assert "each tool call has one result" in failing([e for e in GOOD if e is not RESULT], workspace)


def test_a_tool_that_ran_twice(workspace: Path) -> None:
    (workspace / repository.RUNS_FILE).write_text("run\nrun\n")
    assert failing(GOOD, workspace) == ["no tool ran twice"]


def test_a_response_that_was_requested_twice(workspace: Path) -> None:
    assert failing(GOOD, workspace, ASKED * 2) == ["no answer was paid for twice"]


def test_changed_tests(workspace: Path) -> None:
    (workspace / repository.TEST_FILE).write_text("pass\n")
    assert failing(GOOD, workspace) == ["the tests pass"]


def test_a_session_that_is_not_idle(workspace: Path) -> None:
    assert "the session is at rest" in failing(
        [ev.ThreadStatusRunning(id="r", agent_name="a", session_thread_id="t"), *GOOD[:-1]], workspace
    )
