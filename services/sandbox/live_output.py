"""What a running call prints, published for people who watch. Best effort: nothing waits for it, nothing is stored."""

import asyncio
from typing import Final

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Output
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key

TOTAL: Final = 256 * 1024
"""Characters of one call that are published; what follows is only in its result."""

WAITING: Final = 128 * 1024
"""Characters that may wait while the bus is slow; above that nothing more of the call is published."""

log = structlog.get_logger()


class LiveOutput:
    """The output of one call of one session, published in order and without a hole up to where it stops."""

    def __init__(self, bus: Bus, key: Key, call: str) -> None:
        self._bus = bus
        self._subject = subjects.output(key)
        self._call = call
        self._at = 0
        """Characters that were published."""
        self._waiting = ""
        self._over = False
        self._sending: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        """Publish the text, now or with the next. Returns at once."""
        if self._over:
            return
        if len(self._waiting) + len(text) > WAITING or self._at + len(self._waiting) + len(text) > TOTAL:
            self._over = True
            return
        self._waiting += text
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="live-output")

    def close(self) -> None:
        """Publish nothing more: the call has ended."""
        self._over, self._waiting = True, ""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        try:
            while self._waiting:
                text, self._waiting = self._waiting, ""
                output = Output(call=self._call, text=text, at=self._at)
                self._at += len(text)
                await self._bus.core.publish(self._subject, msgspec.json.encode(output))
        except BusError as exc:
            log.info("the output of a running call could not be published", call=self._call, code=exc.code)
            self._over = True
        finally:
            self._sending = None
