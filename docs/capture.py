"""Capture what the commands look like into `screens.md`: `.venv/bin/python docs/capture.py`, takes about a minute.

Each command runs in a real terminal of 80 and of 40 columns (a pty, drawn by pyte), against a stack with the scripted
model. Run it after a change of what a command prints, and look at the difference.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyte

HERE = Path(__file__).parent
HOLDFAST = str(Path(sys.executable).with_name("holdfast"))
WIDTHS = (80, 40)
LINES = 400
WITHIN = 120.0
"""Seconds a command may take."""


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, argv: Sequence[str], columns: int, folder: Path) -> None:
        self._screen = pyte.Screen(columns, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            path = f"{Path(HOLDFAST).parent}:{os.environ['PATH']}"
            environ = {"PATH": path, "HOME": str(folder), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            os.execve(argv[0], list(argv), environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

    def read(self, until: str = "") -> None:
        """Draw what comes until the command ends, or until the screen shows `until`."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            if until and until in self.text():
                return
            if select.select([self._fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self._fd, 65536)
                except OSError:  # the other end is closed: the command has ended
                    return
                if not data:
                    return
                self._stream.feed(data)
        raise TimeoutError(self.text())

    def text(self) -> str:
        """The whole screen, without the blank right and bottom."""
        return "\n".join(line.rstrip() for line in self._screen.display).strip("\n")

    def end(self, number: signal.Signals | None = None) -> None:
        """Send a signal if one is given, and wait for the end."""
        if number is not None:
            os.kill(self.pid, number)
            with contextlib.suppress(TimeoutError):
                self.read()
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def shown(text: str, folder: Path) -> str:
    """What is put into the document: no key, also where the terminal has broken it, and the folder as a user's own."""
    key = folder / ".holdfast" / "api.key"
    if key.exists():
        text = re.sub(r"\n?".join(map(re.escape, key.read_text())), "hf_…", text)
    return re.sub(r"\n?".join(map(re.escape, str(folder))), "/home/ada", text)


def screens(columns: int) -> Iterator[tuple[str, str]]:
    """Each command line and what it shows."""
    with tempfile.TemporaryDirectory(prefix="ada-") as name:
        folder = Path(name)

        def once(*arguments: str) -> tuple[str, str]:
            terminal = Terminal([HOLDFAST, *arguments], columns, folder)
            terminal.read()
            terminal.end()
            line = " ".join(f'"{word}"' if " " in word else word for word in arguments)
            return f"holdfast {line}", shown(terminal.text(), folder)

        up = Terminal([HOLDFAST, "up", "--scripted"], columns, folder)
        try:
            up.read(until="Ctrl-C")
            yield "holdfast up --scripted", shown(up.text(), folder)
            yield once("run", "Write a haiku to poem.txt")
            yield once("run", "How many primes are below 10,000? Write and run a program.")
            yield once("sessions")
            yield once("status")
        finally:
            up.end(signal.SIGINT)
        yield once("demo")


def main() -> None:
    parts = ["# What the commands look like\n\nCaptured by `docs/capture.py` at 80 and 40 columns, without colours.\n"]
    for columns in WIDTHS:
        parts.append(f"## {columns} columns\n")
        for command, text in screens(columns):
            print(command, columns, flush=True)
            parts.append(f"### `{command}`\n\n```text\n{text}\n```\n")
    (HERE / "screens.md").write_text("\n".join(parts))


if __name__ == "__main__":
    main()
