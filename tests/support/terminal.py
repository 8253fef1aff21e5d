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

import pyte

from tests.support.command import HOLDFAST
from tests.support.eventually import eventually

_COLUMNS = 1000
_LINES = 2000

_SEQUENCE = re.compile(rb"\x1b\[([?\d;]*)([@-~])")
_KNOWN = frozenset(b"AKmhl")
"""Last bytes of the sequences that our programs use: cursor up, erase line, colours, modes on and off."""

_ZERO_WIDTH = re.compile("([\u200c\u200d\ufe0e\ufe0f])")


class _PyteScreen(pyte.Screen):
    def draw(self, data: str) -> None:
        """pyte 0.8 drops the rest of a text at a joiner of emoji; here it stays with the character before it."""
        for number, part in enumerate(_ZERO_WIDTH.split(data)):
            if number % 2 and self.cursor.x:
                row = self.buffer[self.cursor.y]
                x = self.cursor.x - (1 if row[self.cursor.x - 1].data else 2)
                row[x] = row[x]._replace(data=row[x].data + part)
            elif part:
                super().draw(part)


class Screen:
    """What a program has written, as a terminal draws it: so wide and high that nothing wraps or scrolls away."""

    def __init__(self) -> None:
        self._screen = _PyteScreen(_COLUMNS, _LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._end = b""

    def feed(self, data: bytes) -> None:
        """Draw `data`, whose last sequence or character may be incomplete."""
        for given, command in _SEQUENCE.findall(self._end + data):
            assert ord(command) in _KNOWN, f"unknown sequence: {given} {command}"
            assert command != b"K" or given == b"2", "only whole lines are erased"
        self._end = (self._end + data)[-16:]
        self._stream.feed(data)

    @property
    def text(self) -> str:
        """All lines, without the blanks at their ends."""
        buffer = self._screen.buffer
        last = max([self._screen.cursor.y, *buffer])
        rows = (buffer[y] for y in range(last + 1))
        return "\n".join("".join(row[x].data for x in range(max(row, default=-1) + 1)).rstrip() for row in rows)


class Terminal:
    """A running program. `raw` is all that it has written; `text` what stands on the screen and above it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self.raw = b""
        self._screen = Screen()
        self._master = master
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the program has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self._take(data)

    def _take(self, data: bytes) -> None:
        self.raw += data
        self._screen.feed(data)

    @property
    def text(self) -> str:
        return self._screen.text

    async def shows(self, text: str, *, within: float = 30) -> str:
        """Wait until `text` stands on the screen; returns all that stands there then."""

        async def look() -> str:
            now = self.text
            return now if text in now else ""

        try:
            return await eventually(look, what=f"{text!r} on the screen", within=within)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.text}") from None

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
                self._take(data)
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


@contextlib.asynccontextmanager
async def on_screen(*arguments: str, width: int = 80, **environ: str) -> AsyncIterator[Terminal]:
    """`holdfast` with these arguments in a terminal of that width."""
    given = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **environ}
    async with terminal(HOLDFAST, *arguments, environ=given, width=width) as made:
        yield made
