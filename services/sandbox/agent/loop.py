"""The loop of the agent: reads calls, runs them side by side, answers each once."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import time

from .aside import Aside
from .files import HIDDEN, write_all
from .inputs import ToolError
from .shell import Shell
from .text import clean, text_block
from .tools import FILE_TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

    from .files import Root
    from .text import Block

FRAME_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a frame from the service."""

CROWDED: Final = (
    "no process can be started: the sandbox has as many as it may; "
    "end some by `kill`, or all by the bash tool with restart: true"
)

_HEADER: Final = struct.Struct(">I")


class Timer:
    """Something to do at a time."""

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action = action


class Loop:
    """The agent."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._timers: list[Timer] = []
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._asides: dict[int, Aside] = {}
        self._shell = Shell(self)
        self._shell_call: int | None = None
        self._waiting: list[tuple[int, Any, float]] = []

    # --- for the calls ---------------------------------------------------------------------------------------------

    def watch(self, fd: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call `handler` whenever `fd` is ready."""
        if fd in self._handlers:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._handlers[fd] = handler

    def unwatch(self, fd: int) -> None:
        """No more. May be repeated; before `fd` is closed."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        timer = Timer(time.monotonic() + seconds, action)
        self._timers.append(timer)
        return timer

    def drop(self, timer: Timer | None) -> None:
        """Forget a timer, if it is still there."""
        if timer in self._timers:
            self._timers.remove(timer)

    def own_processes(self) -> set[int]:
        """The agent and the processes of calls other than the shell's."""
        return {os.getpid(), *(aside.pid for aside in self._asides.values())}

    def ended(self, call: int) -> None:
        self._asides.pop(call, None)

    @property
    def congested(self) -> bool:
        """The service has not read yet what was written."""
        return bool(self._outgoing)

    def output(self, call: int, text: str) -> None:
        """What a call has printed so far; the result has it again."""
        self._write({"id": call, "output": text})

    def reply(self, call: int, content: list[Block], is_error: bool = False) -> None:
        """The result of a call."""
        self._write({"id": call, "content": content, "is_error": is_error})
        if call == self._shell_call:
            self._shell_call = None
            self._next_command()

    # --- the stream ------------------------------------------------------------------------------------------------

    def _write(self, frame: dict[str, Any]) -> None:
        data = json.dumps(frame).encode()
        self._outgoing += _HEADER.pack(len(data)) + data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: os.write(1, self._outgoing[: 1 << 20])]
        except BlockingIOError:
            self.watch(1, self._flush, select.EPOLLOUT)
            return
        except BrokenPipeError:
            raise SystemExit(0) from None
        self.unwatch(1)

    def _read(self) -> None:
        data = os.read(0, 1 << 20)
        if not data:
            raise SystemExit(0)  # the service is gone, and with us ends the whole sandbox
        self._incoming += data
        while len(self._incoming) >= _HEADER.size:
            (size,) = _HEADER.unpack_from(self._incoming)
            if size > FRAME_LIMIT:
                raise SystemExit(1)
            if len(self._incoming) < _HEADER.size + size:
                return
            frame = json.loads(bytes(self._incoming[_HEADER.size : _HEADER.size + size]))
            del self._incoming[: _HEADER.size + size]
            self._take(frame)

    def _take(self, frame: dict[str, Any]) -> None:
        call: int = frame["id"]
        if frame.get("cancel"):
            self._cancel(call)
        elif frame["name"] == "bash":
            self._waiting.append((call, frame["input"], frame["limit"]))
            self._next_command()
        elif frame["name"] in FILE_TOOLS:
            try:
                self._asides[call] = Aside(self, call, frame["name"], frame["input"], frame["limit"])
            except OSError:
                self.reply(call, [text_block(f"{frame['name']}: {CROWDED}")], is_error=True)
        else:
            known = ", ".join(["bash", *FILE_TOOLS])
            self.reply(call, [text_block(f"there is no tool {frame['name']!r}; there are {known}")], is_error=True)

    def _next_command(self) -> None:
        """Commands take the one shell in the order they came."""
        while self._waiting and self._shell_call is None:
            call, given, limit = self._waiting.pop(0)
            self._shell_call = call
            try:
                self._shell.run(call, given, limit)
            except ToolError as exc:
                self.reply(call, [text_block(clean(str(exc), terminal=False))], is_error=True)
            except OSError:
                self.reply(call, [text_block(f"bash: {CROWDED}")], is_error=True)

    def _cancel(self, call: int) -> None:
        if call == self._shell_call:
            self._shell.cancel()
        elif call in self._asides:
            self._asides[call].cancel()
        elif any(entry[0] == call for entry in self._waiting):
            self._waiting = [entry for entry in self._waiting if entry[0] != call]
            self.reply(call, [text_block("[cancelled]")], is_error=True)

    # --- the loop --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the service closes the stream."""
        os.set_blocking(1, False)
        self.watch(0, self._read)
        self._make_home()
        while True:
            self._ring()
            due = min((timer.due for timer in self._timers), default=None)
            for fd, _ in self._poll.poll(None if due is None else max(0.0, due - time.monotonic())):
                handler = self._handlers.get(fd)
                if handler:
                    handler()

    def _ring(self) -> None:
        now = time.monotonic()
        for timer in [timer for timer in self._timers if timer.due <= now]:
            if timer in self._timers:  # an earlier one may have dropped it
                self._timers.remove(timer)
                timer.action()

    def _make_home(self) -> None:
        with contextlib.suppress(OSError):  # it is there already, or the workspace is full
            self.root.make_parents(f"{HIDDEN}/home/x")
            fd = self.root.open(f"{HIDDEN}/.gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            write_all(fd, b"*\n")
            os.close(fd)
