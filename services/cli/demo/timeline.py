"""The live timeline in the terminal: text as it is generated, tool calls, results, and what happens to processes."""

import re
import textwrap
import time
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from holdfast.cli.demo.calls import call_lines, result_lines
from holdfast.cli.sanitize import clean

NARROW_COLUMNS: Final = 60
"""On a narrower terminal times and labels are shortened."""

MIN_TEXT_COLUMNS: Final = 20
"""The text has at least this many columns on any terminal."""

_LABEL_COLUMNS: Final = 8
"""Columns of the longest label, `takeover`."""


class Timeline:
    """Prints what happens, with the seconds since the task was sent. Lines below the first one of a text are indented,
    so that times and labels stand in columns of their own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_narrow = console.width < NARROW_COLUMNS
        self._indent = len(self._head("", 0.0))
        self._width = max(console.width - self._indent - 1, MIN_TEXT_COLUMNS)
        self._began = time.monotonic()
        self._column = -1
        self._previewed: set[str] = set()

    def start_clock(self) -> None:
        self._began = time.monotonic()

    def _head(self, label: str, seconds: float) -> str:
        return (
            f"{seconds:4.1f} {label:<{_LABEL_COLUMNS}} "
            if self._is_narrow
            else f"{seconds:6.1f} s  {label:<{_LABEL_COLUMNS}}  "
        )

    def _label(self, label: str, style: str) -> None:
        self._end_text()
        head = Text(self._head(label, time.monotonic() - self._began), "dim")
        if label:
            head.stylize(f"not dim {style}", head.plain.index(label))
        self._console.print(head, end="", soft_wrap=True)

    def _lines(self, label: str, lines: Sequence[str], style: str, text_style: str = "") -> None:
        self._label(label, style)
        wrapped = [part for line in lines for part in textwrap.wrap(clean(line), self._width) or [""]] or [""]
        for number, line in enumerate(wrapped):
            self._console.print(Text(" " * self._indent * (number > 0) + line, text_style), soft_wrap=True)

    def _end_text(self) -> None:
        if self._column >= 0:
            self._console.print()
            self._column = -1

    def note(self, label: str, text: str, style: str = "bold red") -> None:
        """Print a line about something that is not an event of the session."""
        self._lines(label, [text], style, style)

    def delta(self, event_id: str, text: str) -> None:
        """More text of a message that is being generated."""
        if event_id not in self._previewed:
            self._previewed.add(event_id)
            self._label("agent", "green")
            self._column = 0
        for word in re.findall(r"\S+\s*|\s+", clean(text)):
            if self._column and self._column + len(word.rstrip()) > self._width:
                self._console.print(f"\n{' ' * self._indent}", end="")
                self._column = 0
            self._console.print(Text(word), end="", soft_wrap=True)
            self._column += len(word)

    def event(self, event: Any) -> None:
        """An event of the log."""
        match event.type:
            case "user.message":
                self._lines("user", [_text(event)], "bold blue")
            case "agent.message":
                if event.id in self._previewed:
                    self._end_text()
                else:
                    self._lines("agent", [_text(event)], "green")
            case "agent.tool_use":
                self._lines("tool", call_lines(event.name, event.input), "yellow")
            case "agent.tool_result":
                self._lines("result", result_lines(_text(event)), "red" if event.is_error else "cyan", "dim")
            case "session.error":
                self._lines("error", [event.error.message or event.error.type], "bold red")
            case "session.status_idle":
                waits = event.stop_reason.type != "end_turn"
                self._lines("idle", [event.stop_reason.type if waits else "the agent is done"], "bold")
            case _:
                pass


def _text(event: Any) -> str:
    return "".join(b.text for b in event.content or () if b.type == "text")
