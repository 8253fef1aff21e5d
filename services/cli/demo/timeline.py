"""The live timeline in the terminal: text as it is generated, tool calls, results, and what happens to processes."""

import time
from typing import Any

from rich.console import Console
from rich.markup import escape

PREVIEW = 100
"""Characters of a tool's output that are shown."""


class Timeline:
    """Prints what happens, with the seconds since the task was sent."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._writing = False
        self._previewed: set[str] = set()

    def start_clock(self) -> None:
        self._began = time.monotonic()

    def _line(self, label: str, text: str, style: str) -> None:
        self._end_text()
        seconds = f"{time.monotonic() - self._began:5.1f} s"
        self._console.print(f"[dim]{seconds}[/]  [{style}]{label:<9}[/] {text}", highlight=False)

    def _end_text(self) -> None:
        if self._writing:
            self._console.print()
            self._writing = False

    def note(self, label: str, text: str, style: str = "bold red") -> None:
        """Something that is no event of the session."""
        self._line(label, text, style)

    def delta(self, event_id: str, text: str) -> None:
        """More text of a message that is being generated."""
        if event_id not in self._previewed:
            self._previewed.add(event_id)
            self._line("agent", "", "green")
        self._writing = True
        self._console.print(escape(text), end="", highlight=False, soft_wrap=True)

    def event(self, event: Any) -> None:
        """An event of the log."""
        match event.type:
            case "user.message":
                self._line("user", escape(_text(event)), "bold blue")
            case "agent.message":
                if event.id in self._previewed:
                    self._end_text()
                else:
                    self._line("agent", escape(_text(event)), "green")
            case "agent.thinking":
                self._line("agent", "[dim](thinks)[/]", "green")
            case "agent.tool_use":
                given = ", ".join(f"{k}={str(v)!r}" for k, v in event.input.items())
                self._line("tool", f"{event.name}({escape(_short(given))})", "yellow")
            case "agent.tool_result":
                style = "red" if event.is_error else "cyan"
                self._line("result", escape(_short(_text(event))), style)
            case "session.error":
                self._line("error", escape(event.error.message or event.error.type), "bold red")
            case "session.status_idle":
                self._line("idle", event.stop_reason.type, "bold")
            case _:
                pass


def _text(event: Any) -> str:
    return "".join(b.text for b in event.content or () if b.type == "text")


def _short(text: str) -> str:
    line = " ⏎ ".join(text.strip().splitlines())
    return line if len(line) <= PREVIEW else line[: PREVIEW - 1] + "…"
