"""One model request in flight: an interrupt ends it at once, a stopping process after a grace period."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import msgspec

from holdfast.bus.api import Bus
from holdfast.bus.events import ModelUsage
from holdfast.bus.ids import Key
from holdfast.harness.models.deltas import Deltas
from holdfast.harness.models.interface import BlockStart, ModelFailure, Piece, Response, UsageUpdate

INTERRUPT_READ_INTERVAL_S = 15.0
"""Interval at which the inbox is read for an interrupt whose arrival was lost and left no gap to be seen."""


class CallOutcome(msgspec.Struct):
    """How a request ended: with a response, with a failure, handed over, or (none of these) interrupted."""

    response: Response | None
    failure: ModelFailure | None
    ids: dict[int, str]
    """Event ids announced to watchers, by block index."""
    texts: dict[int, str]
    """Text shown to watchers so far, by block index."""
    usage: ModelUsage = ModelUsage()
    handed_over: bool = False


class CallSignals(msgspec.Struct, frozen=True, kw_only=True):
    """What can end a request early, or must be told of its progress."""

    interrupt: asyncio.Event
    """Set when an interrupt of the user was heard."""
    gap: asyncio.Event
    """Set when the arrival of an interrupt may have been missed."""
    interrupt_waits: Callable[[], Awaitable[bool]]
    """Clears `gap` and reads the inbox: True if an interrupt is in it."""
    draining: asyncio.Event
    """Set when the process is to stop."""
    drain_timeout_s: float
    """Grace period for the response after `draining` is set."""
    on_tool_use: Callable[[], None]
    """Called when a tool call begins in the response."""
    on_first_piece: Callable[[], Awaitable[None]] | None
    """Awaited once when the response begins, unless it is complete by then."""


class ModelCall:
    """A request to the model, whose response is `pieces`. `request_id` is the id of its start event, which is stored.

    `quiet`: publish no deltas.
    """

    def __init__(
        self, bus: Bus, key: Key, pieces: AsyncIterator[Piece], *, request_id: str, quiet: bool, signals: CallSignals
    ) -> None:
        self._pieces = pieces
        self._deltas = Deltas(bus, key, request=request_id, quiet=quiet)
        self._signals = signals
        self._usage = ModelUsage()
        self._first_piece = asyncio.Event()

    async def run(self) -> CallOutcome:
        """Wait for the response or a signal. The connection to the model is closed before this returns."""
        reading = asyncio.create_task(self._read())
        given = self._signals
        events = [given.interrupt, given.draining, given.gap]
        if given.on_first_piece is not None:
            events.append(self._first_piece)
        signals = {event: asyncio.create_task(event.wait()) for event in events}
        try:
            return await self._wait(reading, signals)
        except ModelFailure as exc:
            return self._outcome(failure=exc)
        finally:
            for signal in signals.values():
                signal.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._deltas.close()

    async def _wait(
        self, reading: asyncio.Task[Response], signals: dict[asyncio.Event, asyncio.Task[Literal[True]]]
    ) -> CallOutcome:
        """Raises ModelFailure."""
        loop, given = asyncio.get_running_loop(), self._signals
        on_first_piece = given.on_first_piece
        read_at = loop.time() + INTERRUPT_READ_INTERVAL_S
        deadline: float | None = None
        while not reading.done():
            until = read_at if deadline is None else min(read_at, deadline)
            pending = [reading, *(s for s in signals.values() if not s.done())]
            await asyncio.wait(pending, timeout=max(0, until - loop.time()), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                break
            if on_first_piece is not None and self._first_piece.is_set():
                callback, on_first_piece = on_first_piece, None
                await callback()
                continue
            if given.draining.is_set():
                deadline = deadline or loop.time() + given.drain_timeout_s
                if loop.time() >= deadline:
                    return self._outcome(handed_over=True)
            if given.interrupt.is_set():
                return self._outcome()
            if signals[given.gap].done() or loop.time() >= read_at:
                if await given.interrupt_waits():
                    return self._outcome()
                signals[given.gap].cancel()
                signals[given.gap] = asyncio.create_task(given.gap.wait())
                read_at = loop.time() + INTERRUPT_READ_INTERVAL_S
        return self._outcome(response=reading.result())

    def _outcome(
        self, *, response: Response | None = None, failure: ModelFailure | None = None, handed_over: bool = False
    ) -> CallOutcome:
        return CallOutcome(response, failure, self._deltas.ids, self._deltas.texts, self._usage, handed_over)

    async def _read(self) -> Response:
        async for piece in self._pieces:
            self._first_piece.set()
            if isinstance(piece, Response):
                await self._deltas.flush()
                return piece
            if isinstance(piece, UsageUpdate):
                self._usage = piece.usage
            else:
                if isinstance(piece, BlockStart) and piece.type == "tool_use":
                    self._signals.on_tool_use()
                await self._deltas.add(piece)
        raise ModelFailure("model_request_failed_error", "The model's answer did not end.", retryable=True)
