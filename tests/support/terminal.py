"""A program in a pseudo-terminal, and what a person would see on its screen."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.support.eventually import eventually

_ITEM = re.compile(
    r"\x1b\[([?\d;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|([\r\n\x08])|([^\x1b\r\n\x08]+)|(.)", re.DOTALL
)


class Screen:
    """The lines of a terminal with all that has scrolled away. It knows what our programs use, and asserts it."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = 0
        self.column = 0

    def feed(self, text: str) -> None:
        for found in _ITEM.finditer(text):
            given, command, control, plain, rest = found.groups()
            assert rest is None, f"an incomplete or unknown sequence: {rest!r}"
            if plain:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + plain + line[self.column + len(plain) :]
                self.column += len(plain)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif control == "\x08":
                self.column = max(self.column - 1, 0)
            elif command:
                self._command(command, given)

    def _command(self, command: str, given: str) -> None:
        match command:
            case "A":
                self.row = max(self.row - int(given or 1), 0)
            case "K":
                assert given == "2", "only whole lines are erased"
                self.lines[self.row] = ""
            case "m" | "h" | "l":
                pass
            case _:
                raise AssertionError(f"unknown command {command!r}")


class Terminal:
    """A running program. `raw` is all that it has written; `text` what stands on the screen and above it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = b""
        self._master = master
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the program has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.raw += data

    @property
    def text(self) -> str:
        screen = Screen()
        # A sequence that has come in part only is left for the next time.
        whole = re.sub(r"\x1b(?:\[[?\d;]*)?$", "", self.raw.decode(errors="ignore"))
        screen.feed(whole)
        return "\n".join(line.rstrip() for line in screen.lines)

    async def shows(self, text: str, *, within: float = 30) -> str:
        """Wait until `text` stands on the screen; returns all that stands there then."""

        async def look() -> str:
            now = self.text
            return now if text in now else ""

        return await eventually(look, what=f"{text!r} on the screen", within=within)

    def type(self, text: str) -> None:
        """As if these keys were pressed: \\x03 is Ctrl-C, \\x1c is Ctrl-\\."""
        os.write(self._master, text.encode())

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    async def ended(self, *, within: float = 30) -> int:
        """Wait for the end of the program; returns its exit code."""

        async def look() -> bool:
            return self.process.poll() is not None

        await eventually(look, what="the end of the program", within=within)
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                self.raw += data
        return self.process.returncode

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._master)


@contextlib.asynccontextmanager
async def terminal(
    *argv: str | Path, environ: Mapping[str, str], width: int = 80, height: int = 40
) -> AsyncIterator[Terminal]:
    """Start the program with a terminal of that size; killed at the end of the block if it has not ended."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    process = subprocess.Popen(  # noqa: ASYNC220  returns at once
        ["setsid", "--ctty", "--wait", *map(str, argv)], stdin=slave, stdout=slave, stderr=slave,
        env={"TERM": "xterm-256color", **environ}, close_fds=True,
    )  # fmt: skip
    os.close(slave)
    made = Terminal(process, master)
    try:
        yield made
    finally:
        made.close()
