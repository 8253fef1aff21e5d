"""The changing lines at the bottom of a terminal: the draft, the output of a running tool, the current activity."""

import contextlib
import os
import sys
import termios
import time
from collections.abc import Callable, Generator
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_FRAMES: Final = "|/-\\"
FRAMES_PER_SECOND: Final = 8

Lines = Callable[[], list[Text]]


class LiveArea:
    """Lines that a thread redraws below everything that is printed on `console`. It is never shown in a pipe.

    While it is shown the terminal does not echo keys, because they would appear inside of the area.
    """

    def __init__(self, console: Console, lines: Lines) -> None:
        self._console = console
        self._lines = lines
        self._live: Live | None = None
        self._echo: list[Any] | None = None
        self._frames = FRAMES if console.encoding.startswith("utf") else ASCII_FRAMES

    @property
    def possible(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def show(self) -> None:
        if self._live is None and self.possible:
            self._echo = _silence()
            self._live = Live(
                self, console=self._console, transient=True, refresh_per_second=FRAMES_PER_SECOND,
                redirect_stdout=False, redirect_stderr=False, vertical_overflow="crop",
            )  # fmt: skip
            self._live.start()

    def hide(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()
        if self._echo is not None:
            _restore(self._echo)
            self._echo = None

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        """The area is hidden within the block, so that a person can type."""
        shown = self._live is not None
        self.hide()
        try:
            yield
        finally:
            if shown:
                self.show()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        *above, last = self._lines()
        yield from above
        frame = self._frames[int(time.monotonic() * FRAMES_PER_SECOND) % len(self._frames)]
        sign = Text.assemble((f"{frame} ", "cyan"), last)
        sign.truncate(3 * options.max_width - 3, overflow="ellipsis")
        yield sign


def _silence() -> list[Any] | None:
    """Turn off the echo of the terminal; returns the settings for `_restore`, None if the input is no terminal."""
    try:
        if os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
            return None  # in the background: changing the terminal would stop this process
        before = termios.tcgetattr(sys.stdin.fileno())
    except (termios.error, OSError, ValueError):
        return None
    after = [*before]
    after[3] &= ~termios.ECHO
    with contextlib.suppress(termios.error):
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, after)
    return before


def _restore(before: list[Any]) -> None:
    with contextlib.suppress(termios.error, OSError, ValueError):
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
