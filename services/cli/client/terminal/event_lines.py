"""Events of a session as lines for `holdfast tail`: number, time, time since the last event, type, content. Pure."""

import json
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from holdfast.cli.sanitize import clean, clean_line

MAX_LINES: Final = 12
MAX_CHARS: Final = 1200
"""Limits of the content that is shown of one event. `--json` shows all of it."""

INDENT: Final = " " * 7

_STYLES: Final = {
    "user.message": "bold blue", "agent.message": "green", "agent.tool_use": "yellow",
    "agent.custom_tool_use": "yellow", "agent.tool_result": "cyan", "user.custom_tool_result": "cyan",
    "user.tool_confirmation": "magenta", "user.interrupt": "bold magenta", "session.error": "bold red",
}  # fmt: skip

_STOPS: Final = {
    "end_turn": "the turn is done", "requires_action": "it waits for an answer", "refusal": "the model refused",
    "retries_exhausted": "the model could not be reached", "budget_reached": "the budget is used up",
}  # fmt: skip
_RETRIES: Final = {"retrying": "trying again", "exhausted": "no more tries", "terminal": "it is not tried again"}


def event_line(event: Any, number: int, before: datetime | None) -> Text:
    """The line of one event. `before` is the time of the previous event, None for the first one."""
    at: datetime | None = getattr(event, "processed_at", None)
    clock = at.astimezone().strftime("%H:%M:%S") if at else ""
    since = _seconds((at - before).total_seconds()) if at and before else ""
    line = Text(f"{number:>5}  {clock:8}  {since:>8}  {event.type}", "dim")
    body = shortened(clean(body_of(event)))
    if body:
        first, *rest = body.split("\n")
        line.append(f"  {first}", _STYLES.get(event.type, ""))
        for other in rest:
            line.append(f"\n{INDENT}{other}".rstrip(" "), _STYLES.get(event.type, ""))
    return line


def _seconds(seconds: float) -> str:
    return f"+{seconds:.1f} s" if seconds < 100 else f"+{seconds / 60:.0f} min"


def shortened(text: str) -> str:
    """The beginning of a long text, with a line that says how much is missing."""
    text = text.strip("\n")
    kept = "\n".join(text.split("\n")[:MAX_LINES])[:MAX_CHARS]
    missing = len(text) - len(kept)
    return f"{kept}\n… {missing} more characters" if missing else kept


def body_of(event: Any) -> str:  # noqa: PLR0911  one case an event
    """The content of an event for people; empty for events whose type says all."""
    match event.type:
        case "agent.tool_use" | "agent.custom_tool_use":
            return f"{event.name} {clean_line(json.dumps(event.input, ensure_ascii=False))}"
        case "agent.tool_result" | "user.custom_tool_result":
            return f"{'failed: ' if event.is_error else ''}{_text(event)}"
        case "user.tool_confirmation":
            return f"{event.result}{f': {event.deny_message}' if event.deny_message else ''}"
        case "session.error":
            status = event.error.retry_status.type
            return f"{event.error.message} ({_RETRIES.get(status, status)})"
        case "session.status_idle":
            reason = event.stop_reason.type
            return f"({_STOPS.get(reason, reason)})"
        case "span.model_request_end":
            usage = event.model_usage
            return f"{usage.input_tokens} tokens in, {usage.output_tokens} out" if usage else ""
        case _:
            return _text(event)


def _text(event: Any) -> str:
    blocks: list[Any] = list(getattr(event, "content", None) or ())
    return "".join(block.text if block.type == "text" else f"[{block.type}]" for block in blocks)
