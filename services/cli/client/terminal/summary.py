"""The last lines of a command that watched a session: how it ended, what it cost, and how to go on. Pure."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from holdfast.cli.client import questions
from holdfast.cli.client.outcome import Outcome
from holdfast.cli.client.session_ids import short
from holdfast.cli.client.terminal.figures import Usage, duration
from holdfast.cli.sanitize import clean, clean_line
from holdfast.process.model_facts import Price

_SIGNS: Final = {
    "done": ("✓", "bold green", "done"),
    "failed": ("✗", "bold red", "failed"),
    "waits": ("?", "bold yellow", "waits for you"),
    "interrupted": ("■", "bold yellow", "interrupted"),
    "left": ("→", "bold", "left"),
    "gone": ("✗", "bold red", "the connection is gone"),
}


def closing_lines(
    outcome: Outcome,
    *,
    session: str,
    seconds: float,
    usage: Usage,
    price: Price | None,
    files: Sequence[str],
    data: str,
) -> list[Text]:
    """The block of lines. `files` are lines about changed files, `data` the options that name the stack."""
    sign, style, word = _SIGNS[outcome.end]
    why = f": {clean(outcome.why)}" if outcome.why and outcome.why != word else ""
    figures = " · ".join([duration(seconds), *usage.words(price)])
    lines = [Text(), Text.assemble((f"{sign} {word}", style), why, (f" · {figures}", "dim"))]
    lines += [Text(clean_line(line)) for line in files]
    if outcome.end == "waits":
        lines += questions.open_questions(session, outcome.questions, data)
    if outcome.end == "gone":
        lines.append(Text("the session is safe: it is stored, and goes on when the stack runs"))
    lines += _next_commands(outcome, session, data)
    return lines


def _next_commands(outcome: Outcome, session: str, data: str) -> list[Text]:
    watch = f"holdfast attach {short(session)}{data}"
    match outcome.end:
        case "left" | "gone" | "waits":
            return [Text.assemble(("watch it: ", "dim"), watch)]
        case _:
            return [Text.assemble(("go on: ", "dim"), questions.continue_command(session, data))]
