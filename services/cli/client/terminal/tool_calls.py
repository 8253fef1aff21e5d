"""Tool calls and their results as a person reads them: `Edit(calc.py)` with a small diff, `Bash(pytest -q)`. Pure."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.text import Text

from holdfast.cli.sanitize import clean, clean_line

WORKSPACE: Final = "/workspace/"
TITLE_CHARS: Final = 160
VALUE_CHARS: Final = 60
DIFF_LINES: Final = 16
RESULT_LINES: Final = 6
RESULT_CHARS: Final = 900
TOOLS_WITHOUT_RESULT: Final = ("write", "edit")
"""Tools whose result is not shown when it is no error, because it only repeats the call."""

_MAIN_ARGUMENT: Final = {
    "bash": "command", "read": "file_path", "write": "file_path", "edit": "file_path", "glob": "pattern",
    "grep": "pattern",
}  # fmt: skip
"""The argument of a built-in tool that stands for the whole call."""


def title(name: str, given: Mapping[str, Any]) -> Text:
    """The call on one line, such as `Write(poem.txt) +3 lines`. It holds no control characters."""
    shown = _MAIN_ARGUMENT.get(name)
    argument = given.get(shown) if shown else None
    if shown is None or not isinstance(argument, str):
        if name == "bash" and given.get("restart"):
            return _call("Bash", "restart the shell")
        return _call(clean_line(name), ", ".join(f"{key}={_value(value)}" for key, value in given.items()))
    extra = ""
    if name == "bash":
        argument = argument.strip()
        lines = argument.split("\n")
        if len(lines) > 1:
            argument, extra = lines[0] + " …", f" {len(lines)} lines"
    else:
        argument = argument.removeprefix(WORKSPACE)
    match name, given.get("view_range"):
        case ["write", _]:
            extra = f" +{_lines(str(given.get('content') or ''))}"
        case ["read", [int(first), int(last)]]:
            extra = f" lines {first} to {last if last > 0 else 'end'}"
        case ["glob" | "grep", _] if given.get("path"):
            argument += f" in {str(given['path']).removeprefix(WORKSPACE)}"
        case ["edit", _] if given.get("replace_all"):
            extra = " everywhere"
        case _:
            pass
    return _call(name.capitalize(), argument, extra)


def detail(name: str, given: Mapping[str, Any]) -> list[Text]:
    """Lines below the title: the diff of an edit, the commands of a script of several lines."""
    if name == "edit" and isinstance(given.get("old_string"), str) and isinstance(given.get("new_string"), str):
        return list(_diff(given["old_string"], given["new_string"]))
    if name == "bash" and isinstance(given.get("command"), str):
        lines = clean(given["command"].strip()).split("\n")
        return _shorten([Text(line, "dim") for line in lines], DIFF_LINES) if len(lines) > 1 else []
    return []


def result(text: str) -> list[str]:
    """The beginning of a result, and a line that says how much is missing. The lines hold no control characters."""
    lines = clean(text).strip("\n").expandtabs(4).split("\n")
    kept: list[str] = []
    room = RESULT_CHARS
    for line in lines[:RESULT_LINES]:
        kept.append(line[:room])
        room -= len(line)
        if room <= 0:
            break
    missing = len(lines) - len(kept)
    if missing:
        kept.append(f"… {_plural(missing, 'more line')}")
    elif room < 0:
        kept.append(f"… {_plural(-room, 'more character')}")
    return kept


def _diff(old: str, new: str) -> Iterator[Text]:
    before, after = clean(old).split("\n"), clean(new).split("\n")
    changed = [line for line in difflib.ndiff(before, after) if not line.startswith("?")]
    lines = [
        Text(f"{line[0]} {line[2:].expandtabs(4)}", {"+": "green", "-": "red"}.get(line[0], "dim")) for line in changed
    ]
    yield from _shorten(lines, DIFF_LINES)


def _shorten(lines: list[Text], most: int) -> list[Text]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], Text(f"… {_plural(len(lines) - most + 1, 'more line')}", "dim")]


def _call(name: str, argument: str, extra: str = "") -> Text:
    shown = clean_line(argument)
    shown = shown if len(shown) <= TITLE_CHARS else shown[: TITLE_CHARS - 1] + "…"
    return Text.assemble((name, "bold"), "(", shown, ")", (clean_line(extra), "dim"))


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"


def _lines(content: str) -> str:
    return _plural(len(content.splitlines()), "line")


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
