"""The output of a running call, published for viewers. Best effort: nothing waits for it and nothing is stored."""

import asyncio
from typing import Final

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Core
from holdfast.bus.commands import Output
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key

CALL_OUTPUT_CHARS: Final = 256 * 1024
"""Characters of one call that are published. The result has the rest too."""

UNSENT_OUTPUT_CHARS: Final = 128 * 1024
"""Characters that may wait while the bus is slow. Above that nothing more of the call is published."""

log = structlog.get_logger()


class LiveOutput:
    """The output of one call of one session: published in order, without a gap, and possibly without its end."""

    def __init__(self, core: Core, key: Key, call: str) -> None:
        self._core = core
        self._subject = subjects.output(key)
        self._call = call
        self._sent = 0
        """Characters that were published."""
        self._unsent = ""
        self._closed = False
        self._sender: asyncio.Task[None] | None = None

    def add(self, text: str) -> None:
        """Publish the text, now or together with the next one. Returns at once."""
        if self._closed:
            return
        waiting = len(self._unsent) + len(text)
        if waiting > UNSENT_OUTPUT_CHARS or self._sent + waiting > CALL_OUTPUT_CHARS:
            self._closed = True
            return
        self._unsent += text
        if self._sender is None:
            self._sender = asyncio.create_task(self._send(), name="live-output")

    def close(self) -> None:
        """Publish nothing more: the call has ended."""
        self._closed, self._unsent = True, ""
        if self._sender is not None:
            self._sender.cancel()

    async def _send(self) -> None:
        try:
            while self._unsent:
                text, self._unsent = self._unsent, ""
                output = Output(call=self._call, text=text, at=self._sent)
                self._sent += len(text)
                await self._core.publish(self._subject, msgspec.json.encode(output))
        except BusError as exc:
            log.info("the output of a running call could not be published", call=self._call, code=exc.code)
            self._closed = True
        finally:
            self._sender = None
