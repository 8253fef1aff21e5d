"""The worker's end of its watchdog (`watchdog.py`): starts it, sends it lines, replaces it if it dies or hangs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()


STOP_TIMEOUT_S: Final = 5.0
"""Seconds that the watchdog has to end when its input has ended."""


class WatchdogProcess:
    """The watchdog of one worker. `running` returns the process ids of all sandboxes that run now.

    Nothing here blocks or raises: a watchdog that has died, or that does not read because it is stopped, is replaced.
    """

    def __init__(self, running: Callable[[], Iterable[int]]) -> None:
        self._running = running
        self._process: subprocess.Popen[bytes] | None = None
        self._is_wanted = False
        self._deadline = ""

    def start(self) -> None:
        """Watch from now on."""
        self._is_wanted, self._deadline = True, ""
        self._spawn()

    def _spawn(self) -> None:
        """Start the process. A failure is logged, and the next line is another attempt."""
        script = str(Path(__file__).with_name("watchdog.py"))
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own script by our own interpreter
                [sys.executable, "-I", "-S", script], stdin=subprocess.PIPE, env={}, start_new_session=True, bufsize=0
            )
        except OSError as exc:
            log.warning("the watchdog cannot be started", cause=str(exc))
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def add(self, pid: int) -> None:
        """A process of a sandbox has started; its end ends the sandbox."""
        self._send(f"add {pid}")

    def drop(self, pid: int) -> None:
        """The process has ended."""
        self._send(f"drop {pid}")

    def keep_until(self, deadline: float) -> None:
        """Kill all sandboxes at `deadline` (loop time, seconds) unless called again before."""
        self._deadline = f"until {deadline}"
        self._send(self._deadline)

    async def stop(self) -> None:
        """End the watchdog, which kills every sandbox that it still knows. May be repeated."""
        self._is_wanted = False
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # which cannot block: nothing is buffered
        try:
            await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(process)

    def _send(self, line: str) -> None:
        """Write one line."""
        if not self._is_wanted or self._written(line):
            return
        if self._process is not None:
            log.warning("the watchdog died or is stuck, and is replaced")
            _kill(self._process)
            self._process = None
        self._spawn()
        for known in [*(f"add {pid}" for pid in self._running()), self._deadline]:
            if known:
                self._written(known)

    def _written(self, line: str) -> bool:
        """Whether the line, which is shorter than what a pipe takes at once, was written."""
        if self._process is None:
            return False
        assert self._process.stdin is not None
        try:
            return bool(self._process.stdin.write(f"{line}\n".encode()))
        except BrokenPipeError:
            return False


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a watchdog without the sandboxes that it knows."""
    assert process.stdin is not None
    process.kill()
    process.wait()
    process.stdin.close()
