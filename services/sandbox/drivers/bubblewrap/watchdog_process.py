"""The worker's end of its watchdog (`watchdog.py`): starts it, sends it lines, replaces it when it has died."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

log = structlog.get_logger()


class WatchdogProcess:
    """The watchdog of one worker. `running` returns the first process ids of all sandboxes that run now."""

    def __init__(self, running: Callable[[], Iterable[int]]) -> None:
        self._running = running
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = str(Path(__file__).with_name("watchdog.py"))
        self._process = subprocess.Popen(  # noqa: S603  our own script by our own interpreter
            [sys.executable, "-I", "-S", script], stdin=subprocess.PIPE, env={}, start_new_session=True, bufsize=0
        )

    def add(self, pid: int) -> None:
        """A sandbox with this first process has started."""
        self._send(f"add {pid}")

    def drop(self, pid: int) -> None:
        """The sandbox with this first process has ended."""
        self._send(f"drop {pid}")

    def keep_until(self, deadline: float) -> None:
        """Kill all sandboxes at `deadline` (loop time, seconds) unless called again before."""
        self._send(f"until {deadline}")

    async def stop(self) -> None:
        """End the watchdog, which kills every sandbox that it still knows. May be repeated."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    def _send(self, line: str) -> None:
        """Write one line. A watchdog that has died is replaced, and the new one is told of all running sandboxes."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        try:
            process.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:
            log.warning("the watchdog died and is replaced")
            process.wait()
            self.start()
            for pid in self._running():
                self._send(f"add {pid}")
