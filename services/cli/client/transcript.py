"""A session in the terminal: text as it is generated, tool calls, shortened results, errors, usage."""

import json
from typing import Any, Final

from rich.console import Console
from rich.text import Text

RESULT_LINES: Final = 12
RESULT_CHARS: Final = 1200
INPUT_CHARS: Final = 300

_STYLES: Final = {
    "user.message": "bold blue", "agent.message": "green",
    "agent.tool_use": "yellow", "agent.custom_tool_use": "yellow",
    "agent.tool_result": "cyan", "user.custom_tool_result": "cyan", "user.tool_confirmation": "magenta",
    "user.interrupt": "bold magenta", "session.error": "bold red",
}  # fmt: skip


def text_of(event: Any) -> str:
    """All text of an event's content, other blocks by their type."""
    blocks: list[Any] = list(getattr(event, "content", None) or ())
    return "".join(b.text if b.type == "text" else f"[{b.type}]" for b in blocks)


def call_of(event: Any) -> str:
    """A tool call on one line."""
    given = json.dumps(event.input, ensure_ascii=False)
    return f"{event.name} {given if len(given) <= INPUT_CHARS else given[: INPUT_CHARS - 1] + '…'}"


def shortened(text: str) -> str:
    """The beginning of a long text, with a line that says how much is missing."""
    lines = text.rstrip("\n").split("\n")
    kept = "\n".join(lines[:RESULT_LINES])[:RESULT_CHARS]
    missing = len(text.rstrip("\n")) - len(kept)
    return f"{kept}\n… {missing} more characters" if missing > 0 else kept


class Transcript:
    """Prints events. Control characters of an agent's text never reach the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[str, str] = {}
        """Text of each message that has been shown while it was generated."""
        self._open = ""
        """The message whose last line is not ended."""

    def note(self, text: str) -> None:
        """Something that is no event of the session."""
        self._close()
        self._console.print(Text(f"({_clean(text)})", "dim"))

    def event(self, event: Any, *, number: int = 0) -> None:
        """Show one event; with `number` its place in the session stands before it."""
        match event.type:
            case "event_delta":
                self._delta(event.event_id, getattr(event.delta.content, "text", ""))
            case "event_start":
                pass
            case "agent.message" if event.id in self._shown:
                self._rest(event)
            case _:
                self._line(event, number)

    def _delta(self, event_id: str, text: str) -> None:
        if self._open != event_id:
            self._close()
            self._open = event_id
        self._shown[event_id] = self._shown.get(event_id, "") + text
        self._console.print(Text(_clean(text), "green"), end="", soft_wrap=True)

    def _rest(self, event: Any) -> None:
        """What of a message was not shown while it was generated, because the connection was lost."""
        shown, text = self._shown.pop(event.id), text_of(event)
        if not text.startswith(shown) or self._open != event.id:
            self._close()
            shown = ""
        self._console.print(Text(_clean(text[len(shown) :]), "green"), soft_wrap=True)
        self._open = ""

    def _close(self) -> None:
        if self._open:
            self._console.print()
            self._open = ""

    def _line(self, event: Any, number: int) -> None:
        body = _body(event)
        if body is None and not number:
            return
        self._close()
        line = Text(f"{number:>5}  {event.type}  " if number else "", "dim")
        line.append(_clean(body or ""), _STYLES.get(event.type, "dim"))
        self._console.print(line, soft_wrap=True)


def _body(event: Any) -> str | None:  # noqa: C901, PLR0911, PLR0912  one case an event, on purpose
    match event.type:
        case "user.message":
            return f"> {text_of(event)}"
        case "agent.message":
            return text_of(event)
        case "agent.tool_use" | "agent.custom_tool_use":
            return f"→ {call_of(event)}"
        case "agent.tool_result" | "user.custom_tool_result":
            return f"{'✗' if event.is_error else '←'} {shortened(text_of(event))}"
        case "user.tool_confirmation":
            return f"{event.result}{f': {event.deny_message}' if event.deny_message else ''}"
        case "user.interrupt":
            return "interrupted"
        case "agent.thread_context_compacted":
            return "(the context was summarised)"
        case "session.error":
            status = event.error.retry_status.type
            return f"error: {event.error.message} ({status})"
        case "session.status_rescheduled":
            return "(trying again)"
        case "session.status_idle":
            return None if event.stop_reason.type == "end_turn" else f"(idle: {event.stop_reason.type})"
        case "session.status_terminated":
            return "(the session has ended)"
        case "session.deleted":
            return "(the session was deleted)"
        case _:
            return None


def _clean(text: str) -> str:
    """Without what a terminal would obey: an agent's output may hold escape sequences."""
    return "".join(c if c in "\n\t" or (c.isprintable() and ord(c) != 0x7F) else "�" for c in text)
