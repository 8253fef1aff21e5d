"""One call of a file tool, in a process of its own."""

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

    from .loop import Loop

RESULT_LIMIT: Final = 36 * 1024 * 1024
"""Bytes of one result: a PDF of 20 MiB in base64 and some."""


class Aside:
    """Forked from the agent, so it starts with everything loaded; it answers through a pipe."""

    def __init__(self, loop: Loop, call: int, name: str, given: Any, limit: float) -> None:
        self._loop, self._call, self._name = loop, call, name
        self._data = bytearray()
        self._why = ""
        self._out, out = os.pipe()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self._work(out, given)
        except OSError:
            os.close(self._out)
            raise
        finally:
            os.close(out)
        os.set_blocking(self._out, False)
        loop.watch(self._out, self._readable)
        self._timer = loop.after(limit, lambda: self._stop(f"timed out after {limit:g} s"))

    def cancel(self) -> None:
        """Stop it; its reply comes all the same."""
        self._stop("cancelled")

    def _work(self, out: int, given: Any) -> NoReturn:
        status = 1
        try:
            os.setsid()
            after_fork()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error to report, not a death
            write_all(out, json.dumps(self._result(given)).encode())
            status = 0
        finally:
            os._exit(status)

    def _result(self, given: Any) -> list[Any]:
        try:
            return [FILE_TOOLS[self._name](self._loop.root, given), False]
        except ToolError as exc:
            return [[text_block(clean(str(exc), terminal=False))], True]
        except MemoryError:
            return [[text_block(f"{self._name}: out of memory")], True]

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data = os.read(self._out, 1 << 18)
            except BlockingIOError:
                return
            if not data:
                self._ended()
                return
            self._data += data
            if len(self._data) > RESULT_LIMIT:
                self._stop("the result is too large")

    def _ended(self) -> None:
        self._loop.drop(self._timer)
        self._loop.unwatch(self._out)
        os.close(self._out)
        os.waitpid(self.pid, 0)
        self._loop.ended(self._call)
        if not self._why:
            try:
                content, failed = json.loads(bytes(self._data))
            except ValueError:
                self._why = "it was killed, most likely for want of memory"
            else:
                self._loop.reply(self._call, content, bool(failed))
                return
        self._loop.reply(self._call, [text_block(f"{self._name}: stopped: {self._why}")], is_error=True)

    def _stop(self, why: str) -> None:
        self._why = self._why or why
        for pid in [pid for pid, parent in parents().items() if parent == self.pid]:
            kill(pid, signal.SIGKILL)
        kill(self.pid, signal.SIGKILL)
