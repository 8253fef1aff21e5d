"""What `holdfast up` shows while a stack starts and stops: a line a service, live on a terminal, plain in a pipe."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

_FRAME_INTERVAL_S: Final = 0.1
"""Seconds between two frames on a terminal."""

_SPINNER_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

_SILENT_STOP_S: Final = 1.0
"""In a pipe, processes that take longer to stop are named once."""

_REPLICA: Final = re.compile(r"(.+)-\d+")


class UpConsole(Console):
    """A console that falls silent when its reader is gone, so that the stack runs on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def is_live(console: Console) -> bool:
    """Whether lines can be redrawn: a real terminal, whatever FORCE_COLOR says."""
    return console.file.isatty() and not console.is_dumb_terminal


class StartProgress:
    """One line for each service as it gets ready; replicas share a line. Used as a context manager."""

    def __init__(self, console: Console, names: Iterable[str]) -> None:
        self._console = console
        self._began = time.monotonic()
        self._rows: dict[str, list[str]] = {}
        for name in names:
            self._rows.setdefault(_row(name), []).append(name)
        self._width = max(len(_label(row, names)) for row, names in self._rows.items())
        self._done: dict[str, float] = {}
        self._failed = ""
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if is_live(self._console):
            # Without a thread of its own: the supervisor forks.
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a terminal that was closed
            if self._live:
                self._live.update(self._frame(), refresh=True)
                self._live.stop()
                self._live = None

    def update(self, ready_at: Mapping[str, float]) -> None:
        """Show which programs are ready; values are seconds since each was started."""
        for row, names in self._rows.items():
            if row not in self._done and all(name in ready_at for name in names):
                self._done[row] = max(ready_at[name] for name in names)
                if not self._live:
                    self._print(self._line(row))
        self._draw()

    def fail(self, name: str) -> None:
        """Mark the service that ends the start."""
        self._failed = _row(name)

    async def animate(self) -> None:
        """Redraw until cancelled."""
        while True:
            self._draw()
            await asyncio.sleep(_FRAME_INTERVAL_S)

    def _draw(self) -> None:
        if self._live:
            with contextlib.suppress(OSError):
                self._live.update(self._frame(), refresh=True)

    def _print(self, line: Text) -> None:
        with contextlib.suppress(OSError):
            self._console.print(line, soft_wrap=True)

    def _frame(self) -> Text:
        return Text("\n").join(self._line(row) for row in self._rows)

    def _line(self, row: str) -> Text:
        label = _label(row, self._rows[row]).ljust(self._width)
        if row in self._done:
            return Text.assemble(("✓", "green"), f" {label}  ", (f"{self._done[row]:5.1f} s", "dim"))
        if row == self._failed:
            return Text.assemble(("✗", "bold red"), f" {label}")
        waited = time.monotonic() - self._began
        if not self._live or self._failed:
            return Text.assemble(("·", "dim"), f" {label}")
        return Text.assemble((_spinner(waited), "cyan"), f" {label}  ", (f"{waited:5.1f} s", "dim"))


class StopProgress:
    """Shows which processes a stop waits for."""

    def __init__(self, console: Console, say: Callable[[str], None], limit: float) -> None:
        """`limit` is the number of seconds after which a process is killed."""
        self._console = console
        self._say = say
        self._limit = limit

    async def watch(self, waiting: Callable[[], Sequence[str]]) -> None:
        """Show the programs that `waiting` returns until cancelled."""
        live = Live(console=self._console, auto_refresh=False, transient=True) if is_live(self._console) else None
        began = since = time.monotonic()
        seen, told = list[str](), list[str]()
        try:
            if live:
                live.start()
            while True:
                now = time.monotonic()
                names, waited = list(waiting()), now - began
                if names != seen:
                    seen, since = names, now
                if live:
                    line = f"{_spinner(waited)} stopping: waiting for {_text(names)}  {waited:.0f} s" if names else ""
                    with contextlib.suppress(OSError):
                        live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)
                elif names and names != told and now - since > _SILENT_STOP_S:
                    self._say(f"waiting for {_text(names)}, at most {self._limit:.0f} s")
                    told = names
                await asyncio.sleep(_FRAME_INTERVAL_S)
        finally:
            with contextlib.suppress(OSError):
                if live:
                    live.stop()


def _row(name: str) -> str:
    found = _REPLICA.fullmatch(name)
    return found[1] if found else name


def _label(row: str, names: Sequence[str]) -> str:
    return f"{row} x{len(names)}" if len(names) > 1 else row


def _text(names: Sequence[str]) -> str:
    rows: dict[str, list[str]] = {}
    for name in names:
        rows.setdefault(_row(name), []).append(name)
    return ", ".join(_label(row, members) for row, members in rows.items())


def _spinner(seconds: float) -> str:
    return _SPINNER_FRAMES[int(seconds / _FRAME_INTERVAL_S) % len(_SPINNER_FRAMES)]
