"""A turn printed in a pipe, on a terminal, and as the numbered lines of `tail`."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from holdfast.cli.client.terminal.console import THEME
from holdfast.cli.client.terminal.event_lines import event_line
from holdfast.cli.client.terminal.terminal_view import TerminalView
from tests.support.terminal import Screen


def event(kind: str, **fields: Any) -> Any:
    return SimpleNamespace(type=kind, id=fields.pop("id", "sevt_1"), **fields)


def text(value: str) -> list[Any]:
    return [SimpleNamespace(type="text", text=value)]


def said(value: str, id_: str = "m") -> Any:
    return event("agent.message", id=id_, content=text(value))


def delta(event_id: str, value: str) -> Any:
    return event("event_delta", event_id=event_id, delta=SimpleNamespace(content=SimpleNamespace(text=value)))


def call(name: str, id_: str = "c", permission: str = "allow", **given: Any) -> Any:
    return event("agent.tool_use", id=id_, name=name, input=given, evaluated_permission=permission)


def result(value: str, id_: str = "c", *, is_error: bool = False) -> Any:
    return event("agent.tool_result", id="r" + id_, tool_use_id=id_, is_error=is_error, content=text(value))


def error(message: str, retry: str) -> Any:
    return event("session.error", error=SimpleNamespace(message=message, retry_status=SimpleNamespace(type=retry)))


def printed(*events: Any, width: int = 80, terminal: bool = False) -> str:
    """The text that is on the screen, or in the pipe, after these events; strings are notes."""
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, theme=THEME, force_terminal=terminal, color_system=None)
    view = TerminalView(console, set())
    view.start()
    for one in events:
        view.note(one) if isinstance(one, str) else view.event(one)
    view.stop()
    if not terminal:
        return out.getvalue()
    screen = Screen()
    screen.feed(out.getvalue().replace("\n", "\r\n").encode())  # as a terminal driver does
    return screen.text.rstrip("\n") + "\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_shown_once_with_and_without_deltas(terminal: bool) -> None:
    whole = said("Hello you\n\nand you")
    for events in (
        [whole],
        [delta("m", "Hello "), delta("m", "you\n\nand"), delta("m", " you"), whole],
        [delta("m", "Hel"), whole],
        [delta("m", "Hello you\n\nan"), "lost", whole],
    ):
        shown = printed(*events, terminal=terminal).replace("(lost)\n", "")
        assert shown.split() == ["Hello", "you", "and", "you"], events


@pytest.mark.parametrize("terminal", [False, True])
def test_an_answer_that_is_replaced_is_marked_as_cut_off(terminal: bool) -> None:
    start = event("span.model_request_start")
    shown = printed(delta("m", "Hello\n\nWor"), start, said("Good morning", "n"), terminal=terminal)
    assert shown.split() == ["Hello", "Wor", "…", "Good", "morning"]
    changed = printed(delta("m", "Hallo\n\nd"), said("Hello you"), terminal=terminal)
    assert changed.split()[-2:] == ["Hello", "you"]


def test_steps_stand_apart_and_results_belong_to_their_calls() -> None:
    shown = printed(
        call("bash", "a", command="pytest -q"),
        result("1 passed\n", "a"),
        call("read", "b", file_path="/workspace/a.py"),
        call("grep", "c", pattern="x"),
        result("b's", "b"),
        result("no such file", "c", is_error=True),
        call("write", "d", file_path="p.txt", content="a\nb\n"),
        result("wrote p.txt", "d"),
    )
    assert shown.splitlines() == [
        "", "● Bash(pytest -q)", "  ⎿ 1 passed",
        "", "● Read(a.py)",
        "", "● Grep(x)",
        "", "↳ Read(a.py)", "  ⎿ b's",
        "", "↳ Grep(x)", "  ✗ no such file",
        "", "● Write(p.txt) +2 lines",
    ]  # fmt: skip


def test_a_call_that_needs_permission_is_printed_with_the_question_or_its_result() -> None:
    assert printed(call("bash", permission="ask", command="x")) == ""
    assert "● Bash(x)" in printed(call("bash", permission="ask", command="x"), result("denied", is_error=True))


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    shown = printed(
        call("bash", command="echo " + "word " * 30),
        result("wide " * 40),
        call("edit", "e", file_path="a.py", old_string="x = " + "1 + " * 40, new_string="y = 2"),
        said("A **long** answer " * 10 + "\n\n| a | b |\n|---|---|\n| one two three four | five six seven eight |\n"),
        width=width,
        terminal=True,
    )
    assert max(map(len, shown.splitlines())) <= width
    assert "**" not in shown
    assert "|" not in shown


def test_nothing_an_agent_writes_controls_the_terminal() -> None:
    evil = "\x1b]0;title\x07\x1b[31mred\r\x9b2J [bold]markup[/] [/x]"
    events = [
        delta("m", evil),
        said(evil, "x"),
        call("bash", "a", command=evil),
        call(evil, "b", **{evil: evil}),
        result(evil, "a", is_error=True),
        event("user.message", content=text(evil)),
        event("user.tool_confirmation", result="deny", deny_message=evil),
        error(evil, "terminal"),
        evil,
    ]
    out = printed(*events)
    tail = io.StringIO()
    for number, one in enumerate(events[1:-1]):
        Console(file=tail, width=80).print(event_line(one, number, None))
    for shown in (out, tail.getvalue()):
        assert not {"\x1b", "\x07", "\r", "\x9b"} & set(shown)
        assert "[bold]markup[/] [/x]" in shown


def test_failures_are_shown_as_sentences() -> None:
    failing = event("span.model_request_end", is_error=True, model_usage=None)
    shown = printed(
        failing, error("The model answered 529: busy", "retrying"), error("No (attempt 2, next in 4 s)", "retrying"),
        error("The model answered 401: bad key", "terminal"),
    )  # fmt: skip
    assert shown.splitlines() == [
        "(The model answered 529: busy (attempt 1 failed, trying again))",
        "(No (attempt 2, next in 4 s))",
        "✗ The model answered 401: bad key",
    ]
