"""The live timeline in the terminal: text as it is generated, tool calls, results, and what happens to processes."""

import re
import textwrap
import time
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

PREVIEW: Final = 150
"""Characters of a tool's input or output that are shown."""

INDENT: Final = 20
"""Columns left of the text."""


class Timeline:
    """Prints what happens, with the seconds since the task was sent."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = max(console.width - INDENT, 30)
        self._began = time.monotonic()
        self._column = -1
        self._previewed: set[str] = set()

    def start_clock(self) -> None:
        self._began = time.monotonic()

    def _label(self, label: str, style: str) -> None:
        self._end_text()
        seconds = f"{time.monotonic() - self._began:6.1f} s"
        self._console.print(f"[dim]{seconds}[/]  [{style}]{label:<9}[/] ", end="", highlight=False)

    def _line(self, label: str, text: str, style: str, text_style: str = "default") -> None:
        self._label(label, style)
        indented = f"\n{' ' * INDENT}".join(textwrap.wrap(text, self._width) or [""])
        self._console.print(f"[{text_style}]{escape(indented)}[/]", highlight=False, soft_wrap=True)

    def _end_text(self) -> None:
        if self._column >= 0:
            self._console.print()
            self._column = -1

    def note(self, label: str, text: str, style: str = "bold red") -> None:
        """Something that is no event of the session."""
        self._line(label, text, style, style)

    def delta(self, event_id: str, text: str) -> None:
        """More text of a message that is being generated."""
        if event_id not in self._previewed:
            self._previewed.add(event_id)
            self._label("agent", "green")
            self._column = 0
        for word in re.findall(r"\S+\s*|\s+", text):
            if self._column and self._column + len(word.rstrip()) > self._width:
                self._console.print(f"\n{' ' * INDENT}", end="")
                self._column = 0
            self._console.print(escape(word), end="", highlight=False, soft_wrap=True)
            self._column += len(word)

    def event(self, event: Any) -> None:
        """An event of the log."""
        match event.type:
            case "user.message":
                self._line("user", _text(event), "bold blue")
            case "agent.message":
                if event.id in self._previewed:
                    self._end_text()
                else:
                    self._line("agent", _text(event), "green")
            case "agent.tool_use":
                given = ", ".join(f"{k}={str(v)!r}" for k, v in event.input.items())
                self._line("tool", _short(f"{event.name}({given})"), "yellow")
            case "agent.tool_result":
                self._line("result", _short(_text(event)), "red" if event.is_error else "cyan", "dim")
            case "session.error":
                self._line("error", event.error.message or event.error.type, "bold red")
            case "session.status_idle":
                self._line("idle", event.stop_reason.type, "bold")
            case _:
                pass


def _text(event: Any) -> str:
    return "".join(b.text for b in event.content or () if b.type == "text")


def _short(text: str) -> str:
    """Lines put together by ` / `; of a long text the beginning and the end."""
    line = " / ".join(part.strip() for part in text.splitlines() if part.strip(" -=.\t"))
    return line if len(line) <= PREVIEW else f"{line[: PREVIEW // 2]} … {line[-PREVIEW // 2 :]}"
