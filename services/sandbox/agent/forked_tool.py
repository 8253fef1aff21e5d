"""One call of a file tool in a process of its own, so that it can be killed and blocks no other call."""

from __future__ import annotations

import json
import os
import signal

from .files import write_all
from .inputs import ToolError
from .processes import after_fork, kill, parents
from .text import clean, text_block
from .tools import FILE_TOOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

    from .channel import Call
    from .files import Root
    from .poller import Poller

RESULT_BYTES: Final = 36 * 1024 * 1024
"""Largest result: a PDF of 20 MiB in base64 is 27 MiB."""

PIPE_READ_BYTES: Final = 1 << 18
"""Bytes of one read of the result."""

PIPE_READS: Final = 64
"""Reads in a row before other handlers get their turn."""


class ForkedTool:
    """Forked from the agent, so that everything is loaded already. The child writes its result into a pipe.

    Raises OSError if no process can be started.
    """

    def __init__(self, poller: Poller, root: Root, call: Call) -> None:
        self._poller, self._root, self._call = poller, root, call
        self._result = bytearray()
        self._stopped_because = ""
        self._pipe, pipe_write = os.pipe()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self._work(pipe_write)
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(pipe_write)
        os.set_blocking(self._pipe, False)
        poller.watch(self._pipe, self._on_readable)
        self._timer = poller.after(call.limit, lambda: self._stop(f"timed out after {call.limit:g} s"))

    def cancel(self) -> None:
        """Stop the tool; its reply, an error, is still sent."""
        self._stop("cancelled")

    def _work(self, pipe: int) -> NoReturn:
        """The child process: run the tool, write the result, end."""
        status = 1
        try:
            os.setsid()
            after_fork()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large becomes an error (EFBIG)
            write_all(pipe, json.dumps(self._run()).encode())
            status = 0
        finally:
            os._exit(status)

    def _run(self) -> list[Any]:
        """The content blocks of the result, and whether it is an error."""
        name = self._call.name
        try:
            return [FILE_TOOLS[name](self._root, self._call.input), False]
        except ToolError as exc:
            return [[text_block(clean(str(exc), terminal=False))], True]
        except MemoryError:
            return [[text_block(f"{name}: out of memory")], True]

    def _on_readable(self) -> None:
        for _ in range(PIPE_READS):
            try:
                data = os.read(self._pipe, PIPE_READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                self._on_exit()
                return
            self._result += data
            if len(self._result) > RESULT_BYTES:
                self._stop("the result is too large")

    def _on_exit(self) -> None:
        self._poller.drop(self._timer)
        self._poller.unwatch(self._pipe)
        os.close(self._pipe)
        os.waitpid(self.pid, 0)
        if not self._stopped_because:
            try:
                content, is_error = json.loads(bytes(self._result))
            except ValueError:
                self._stopped_because = "it was killed, most likely for want of memory"
            else:
                self._call.reply(content, bool(is_error))
                return
        self._call.reply([text_block(f"{self._call.name}: stopped: {self._stopped_because}")], is_error=True)

    def _stop(self, why: str) -> None:
        """Kill the process and its children. The first reason counts."""
        self._stopped_because = self._stopped_because or why
        for pid in [pid for pid, parent in parents().items() if parent == self.pid]:
            kill(pid, signal.SIGKILL)
        kill(self.pid, signal.SIGKILL)
