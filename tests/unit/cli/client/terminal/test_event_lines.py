"""Events as the lines of `holdfast tail`."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from holdfast.cli.client.terminal.event_lines import event_line

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)


def event(kind: str, **more: Any) -> Any:
    return SimpleNamespace(type=kind, id="sevt_1", **more)


def test_an_event_is_a_line_with_its_time_and_the_time_since_the_one_before() -> None:
    result = event(
        "agent.tool_result", processed_at=NOW, is_error=False,
        content=[SimpleNamespace(type="text", text="one\ntwo\x1b[2J\n" + "x\n" * 40)],
    )  # fmt: skip
    text = event_line(result, 7, NOW - timedelta(seconds=2.34)).plain
    first, second, *rest = text.split("\n")
    assert first.split() == ["7", NOW.astimezone().strftime("%H:%M:%S"), "+2.3", "s", "agent.tool_result", "one"]
    assert second == "       two"
    assert rest[-1].endswith("more characters")
    assert "\x1b" not in text
    assert len(rest) <= 12
    assert all(line == line.rstrip() for line in text.split("\n"))


def test_an_event_without_content_is_its_type_alone() -> None:
    line = event_line(event("session.status_running", processed_at=None), 1, None).plain
    assert line.split() == ["1", "session.status_running"]
    assert line == line.rstrip()
    idle = event("session.status_idle", processed_at=NOW, stop_reason=SimpleNamespace(type="requires_action"))
    assert event_line(idle, 1, None).plain.endswith("session.status_idle  (it waits for an answer)")
