"""The console that commands print on, and JSON lines on standard output."""

from typing import Any, Final

import msgspec
from rich.console import Console
from rich.theme import Theme

THEME: Final = Theme({"markdown.code": "cyan", "markdown.h1": "bold", "markdown.h2": "bold", "markdown.h3": "bold"})


def make_console(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error; writing to a closed pipe raises BrokenPipeError."""
    return _Console(highlight=False, theme=THEME, stderr=stderr)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # rich would call sys.exit here, and the caller could not clean up


def write_json(value: Any) -> None:
    """Print one JSON object on a line of its own, and flush."""
    print(msgspec.json.encode(value).decode(), flush=True)
