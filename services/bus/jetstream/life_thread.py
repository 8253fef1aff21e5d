"""Signs of life of deliveries while the event loop of the process is busy: by a thread with a connection of its own.

The event loop sends them itself as long as it turns. A large request or body may occupy it for longer than ACK_WAIT_S;
without this thread, every session of the process would then be given to another replica, and each of these takeovers
would count as one that failed (rule 4).
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from holdfast.bus import streams
from holdfast.bus.errors import Unavailable
from holdfast.bus.jetstream.connection import Connection
from holdfast.process import failures

log = structlog.get_logger()

CHECK_INTERVAL_S = streams.IN_PROGRESS_INTERVAL_S / 2

LATE_S = 1.5 * streams.IN_PROGRESS_INTERVAL_S
"""Seconds since the event loop sent signs of life after which the thread sends them: well below ACK_WAIT_S."""

STALL_LIMIT_S = 10.0
"""Seconds after which it sends none any more: the event loop may hang for good, so others shall have the sessions."""

CLOSE_TIMEOUT_S = 2.0


def is_due(silence_s: float) -> bool:
    """True if the thread is to send signs of life when the event loop has sent none for that long."""
    return LATE_S <= silence_s < STALL_LIMIT_S


class LifeThread:
    """Sends in_progress for the deliveries in `replies` (their reply subjects) while `main` is up and its loop late."""

    def __init__(self, main: Connection, replies: Mapping[Any, str]) -> None:
        self._main = main
        self._replies = replies
        self._sent_at = time.monotonic()
        self._stop = threading.Event()
        self._cancel: Callable[[], object] | None = None
        """Ends `_send`; set once its event loop runs."""
        self._thread = threading.Thread(target=self._run, name="signs-of-life", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def sent(self) -> None:
        """The event loop is about to send signs of life."""
        self._sent_at = time.monotonic()

    async def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._cancel is not None:
            with contextlib.suppress(RuntimeError):  # its event loop is closed already
                self._cancel()
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(self._send())
        except Exception:
            log.exception("life_thread.ended", failure=failures.bug("life_thread"))  # the event loop goes on sending

    async def _send(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
        servers, name, login = self._main.opened_with
        while not self._stop.is_set():
            connection = Connection()  # a new one each time: one that could not be opened cannot be used again
            try:
                await connection.open(servers, name=f"{name} (signs of life)", login=login)
                await self._watch(connection)
            except Unavailable as exc:
                log.warning("life_thread.no_connection", error=str(exc))
                await asyncio.sleep(CHECK_INTERVAL_S)
            finally:
                await connection.close()

    async def _watch(self, connection: Connection) -> None:
        """Send what is due, for ever. Raises Unavailable."""
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if is_due(time.monotonic() - self._sent_at) and self._main.is_up and connection.is_up:
                log.warning("life_thread.loop_is_late", deliveries=len(self._replies))
                for reply in list(self._replies.values()):
                    await connection.send(reply, streams.IN_PROGRESS)
