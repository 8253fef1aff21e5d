"""A watched session as JSON: every event as the API has it, one object a line."""

import contextlib
import sys
import time
from collections.abc import Generator, Sequence
from typing import Any

from rich.text import Text

from holdfast.cli.client.terminal.activity import Activity
from holdfast.cli.client.terminal.console import write_json
from holdfast.cli.sanitize import clean


class JsonView:
    """Prints events on standard output and notes on standard error."""

    def __init__(self) -> None:
        self.activity = Activity(time.monotonic())

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        yield

    def event(self, event: Any) -> None:
        self.activity.event(event, time.monotonic())
        if event.type not in ("event_start", "event_delta"):  # deltas are not events of the session
            write_json(event.to_dict(mode="json"))

    def note(self, text: str) -> None:
        print(f"holdfast run: {clean(text)}", file=sys.stderr)

    connection = note

    def ask_about(self, call: Any) -> None:
        pass

    def lines(self, lines: Sequence[Text]) -> None:
        for line in lines:
            print(line.plain, file=sys.stderr)
