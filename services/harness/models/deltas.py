"""Token deltas to the watchers of a session: best effort, coalesced, never stored."""

import asyncio

import msgspec
import structlog

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commands import Delta
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key, new_id
from holdfast.harness.models.interface import BlockStart, TextDelta
from holdfast.process.faults import point

DELTA_INTERVAL_S = 0.015
"""Shortest time between two messages. The first delta is published at once; a buffered one after this time at the
latest, even if the model then pauses."""

MESSAGE_LIMIT_CHARS = 64 * 1024
"""Text of one message, about; a longer delta is published in parts. JSON needs up to six bytes for a character."""

log = structlog.get_logger()

_EVENT_TYPES = {"text": "agent.message", "thinking": "agent.thinking", "redacted_thinking": "agent.thinking"}


class Deltas:
    """Assigns event ids to the blocks of one response, keeps the text so far and publishes it."""

    def __init__(self, bus: Bus, key: Key, *, request: str, quiet: bool = False) -> None:
        self._bus = bus
        self._subject = subjects.delta(key)
        self._request = request
        self._quiet = quiet
        self._buffer: list[Delta] = []
        self._buffered = 0
        """Characters of text in the buffer."""
        self._published_at = -DELTA_INTERVAL_S
        """Time of the last message, in seconds of the event loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        """Set while the buffer waits for its interval to pass."""
        self._timed_flush: asyncio.Task[None] | None = None
        """The flush that the timer has started."""
        self._sending = asyncio.Lock()
        self.ids: dict[int, str] = {}
        """Event ids announced for the blocks of the response, by index."""
        self._texts: dict[int, list[str]] = {}
        self._lengths: dict[int, int] = {}

    async def add(self, piece: BlockStart | TextDelta) -> None:
        """Add the next piece and publish it, now or within DELTA_INTERVAL_S."""
        if isinstance(piece, BlockStart):
            event_type = _EVENT_TYPES.get(piece.type)
            if event_type is None:
                return
            self.ids[piece.index] = new_id("sevt")
            self._buffer.append(Delta(self.ids[piece.index], event_type, start=True, request=self._request))
            if piece.type == "text":
                return  # published with its first text: an empty text block is never announced
        else:
            before = self._lengths.get(piece.index, 0)
            self._lengths[piece.index] = before + len(piece.text)
            self._texts.setdefault(piece.index, []).append(piece.text)
            if (event := self.ids.get(piece.index)) is not None:
                await self._add_text(event, piece.text, before)
            point("harness.in_stream")
        loop = asyncio.get_running_loop()
        if loop.time() - self._published_at >= DELTA_INTERVAL_S:
            await self.flush()
        elif self._timer is None:
            self._timer = loop.call_at(self._published_at + DELTA_INTERVAL_S, self._due)

    async def _add_text(self, event: str, text: str, at: int) -> None:
        """Buffer the text, which begins at character `at` of its block; publish what makes a message full."""
        for start in range(0, len(text), MESSAGE_LIMIT_CHARS):
            part = text[start : start + MESSAGE_LIMIT_CHARS]
            if self._buffered + len(part) > MESSAGE_LIMIT_CHARS:
                await self.flush()
            self._buffer.append(Delta(event, "agent.message", 0, part, at=at + start))
            self._buffered += len(part)

    def _due(self) -> None:
        self._timer = None
        self._timed_flush = asyncio.create_task(self.flush(), name="deltas-timed-flush")

    @property
    def texts(self) -> dict[int, str]:
        """The text of each block so far, by index."""
        return {index: "".join(parts) for index, parts in self._texts.items()}

    async def flush(self) -> None:
        """Publish the buffer."""
        self._published_at = asyncio.get_running_loop().time()
        self._stop_timer()
        async with self._sending:
            buffer, self._buffer, self._buffered = self._buffer, [], 0
            if buffer and not self._quiet:
                try:
                    await self._bus.core.publish(self._subject, msgspec.json.encode(buffer))
                except BusError as exc:  # watchers get the whole text with its event
                    log.info("deltas.dropped", request=self._request, code=exc.code)

    async def close(self) -> None:
        """Stop publishing; drop the buffer."""
        self._stop_timer()
        if self._timed_flush is not None:
            self._timed_flush.cancel()
            await asyncio.gather(self._timed_flush, return_exceptions=True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
