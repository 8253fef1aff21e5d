"""The events of a session one by one, with their numbers: what `holdfast tail` prints."""

from typing import Any, Final

from rich.console import Console
from rich.text import Text

from holdfast.cli.client.sanitize import clean
from holdfast.cli.client.tool_calls import detail, result, title
from holdfast.cli.client.view import text_of

_STYLES: Final = {
    "user.message": "bold blue", "agent.message": "green",
    "agent.tool_use": "yellow", "agent.custom_tool_use": "yellow",
    "agent.tool_result": "cyan", "user.custom_tool_result": "cyan", "user.tool_confirmation": "magenta",
    "user.interrupt": "bold magenta", "session.error": "bold red",
}  # fmt: skip

_STOPS: Final = {
    "end_turn": "the turn ended",
    "requires_action": "waits for an answer",
    "retries_exhausted": "the turn failed",
    "refusal": "the model refused to go on",
    "budget_reached": "the budget of the session is used up",
}
"""Stop reasons in words."""


class Transcript:
    """Prints events. Control characters of an agent's text never reach the terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def note(self, text: str) -> None:
        """Something that is no event of the session."""
        self._console.print(Text(f"({clean(text)})", "dim"))

    def event(self, event: Any, *, number: int = 0) -> None:
        """Show one event; with `number` its place in the session stands before it."""
        body = _body(event)
        if body is None and not number:
            return
        line = Text(f"{number:>5}  {event.type}" if number else "", "dim")
        if body is not None:
            line.append("  " if number else "")
            style = _STYLES.get(event.type, "dim")
            line.append_text(body if isinstance(body, Text) else Text(clean(body), style))
        self._console.print(line, soft_wrap=True)


def _body(event: Any) -> str | Text | None:  # noqa: C901, PLR0911, PLR0912  one case an event, on purpose
    match event.type:
        case "user.message":
            return f"> {text_of(event)}"
        case "agent.message":
            return text_of(event)
        case "agent.tool_use" | "agent.custom_tool_use":
            given = event.input or {}
            return Text("\n       ").join([title(event.name, given), *detail(event.name, given)])
        case "agent.tool_result" | "user.custom_tool_result":
            return f"{'✗' if event.is_error else '←'} " + "\n       ".join(result(text_of(event)))
        case "user.tool_confirmation":
            return f"{event.result}{f': {event.deny_message}' if event.deny_message else ''}"
        case "user.interrupt":
            return "interrupted"
        case "agent.thread_context_compacted":
            return "(the conversation was summarised)"
        case "session.error":
            return f"error: {event.error.message}"
        case "session.status_rescheduled":
            return "(the model is asked again later)"
        case "session.status_idle":
            return f"({_STOPS.get(event.stop_reason.type, event.stop_reason.type)})"
        case "session.status_terminated":
            return "(the session has ended)"
        case "session.deleted":
            return "(the session was deleted)"
        case _:
            return None
