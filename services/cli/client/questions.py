"""The open calls of a waiting session: the question to the person, and the event that answers it. Pure."""

import shlex
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.text import Text

from holdfast.cli.client.session_ids import short
from holdfast.cli.client.terminal.tool_calls import title
from holdfast.cli.sanitize import clean_line

CALL_CHARS: Final = 8
"""Characters of the short form of a call's id: its end, as with sessions."""


class Answer(msgspec.Struct, frozen=True):
    """The event to send. `always`: allow later calls of this tool without a question."""

    event: dict[str, Any]
    always: bool = False


def wants_result(call: Any) -> bool:
    """Whether the call waits for a result from the client (a custom tool); otherwise it waits for a permission."""
    return call.type == "agent.custom_tool_use"


def allow(call: Any) -> dict[str, Any]:
    return {"type": "user.tool_confirmation", "tool_use_id": call.id, "result": "allow"}


def deny(call: Any, reason: str = "") -> dict[str, Any]:
    refusal: dict[str, Any] = {"type": "user.tool_confirmation", "tool_use_id": call.id, "result": "deny"}
    return {**refusal, "deny_message": reason} if reason else refusal


def result(call: Any, text: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text or "(empty)"}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call.id, "content": content}


def question(call: Any) -> str:
    """The prompt for one call."""
    if wants_result(call):
        return f"  Result of {clean_line(call.name)} (one line; Enter: empty): "
    name = clean_line(call.name)
    return f"  Allow? [y]es, [n]o or Enter, [a]lways {name} until this command ends, or why not: "


def reply(call: Any, line: str) -> Answer:
    """The answer that a typed line means."""
    if wants_result(call):
        return Answer(result(call, line))
    match line.strip().lower():
        case "y" | "yes":
            return Answer(allow(call))
        case "a" | "always":
            return Answer(allow(call), always=True)
        case "" | "n" | "no":
            return Answer(deny(call))
        case _:
            return Answer(deny(call, line.strip()))


def find_call(calls: Sequence[Any], text: str) -> list[Any]:
    """The calls whose id ends in `text`."""
    return [call for call in calls if call.id.endswith(text)]


def short_call(id_: str) -> str:
    return id_[-CALL_CHARS:]


def open_questions(session: str, calls: Sequence[Any], data: str = "") -> list[Text]:
    """Lines to print: the open calls and the commands that answer them. `data` are options that name the stack."""
    lines: list[Text] = []
    for call in calls:
        which = f" --call {short_call(call.id)}" if len(calls) > 1 else ""
        base = f"holdfast answer {short(session)}"
        what = "the result of" if wants_result(call) else "your permission for"
        lines.append(Text.assemble(f"waits for {what} ", title(call.name, call.input or {})))
        if wants_result(call):
            lines.append(Text(f"  {base} --result TEXT{which}{data}"))
        else:
            lines.append(Text(f"  {base} allow{which}{data}"))
            lines.append(Text(f"  {base} deny --message WHY{which}{data}"))
    return lines


def continue_command(session: str, data: str = "") -> str:
    """The command that gives the session its next task."""
    return f'holdfast run "…" --session {short(session)}{data}'


def data_option(folder: object) -> str:
    """` --data FOLDER` for the commands that are printed, if the user named a folder; else empty."""
    return f" --data {shlex.quote(str(folder))}" if folder else ""
