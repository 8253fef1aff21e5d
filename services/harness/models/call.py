"""One model request in flight: stops at once when the user interrupts, soon when the process is to stop."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from holdfast.bus.api import Bus
from holdfast.bus.events import ModelUsage
from holdfast.bus.ids import Key
from holdfast.harness.models import BlockStart, Model, ModelFailure, Request, Response, UsageUpdate
from holdfast.harness.models.deltas import Deltas

LOOK = 1.0
"""Seconds between looks into the inbox for an interrupt whose arrival was not heard."""


class CallOutcome(msgspec.Struct):
    """How it ended: an answer, a failure, or neither (interrupted). `texts` is what was shown, by block."""

    answer: Response | None
    failure: ModelFailure | None
    ids: dict[int, str]
    texts: dict[int, str]
    usage: ModelUsage = ModelUsage()
    handed_over: bool = False


class ModelCall:
    """A request to the model; `span` is the id of its start in the log.

    `quiet` keeps its text from watchers, `on_call` hears that the answer has a tool call.
    """

    def __init__(
        self,
        bus: Bus,
        key: Key,
        model: Model,
        request: Request,
        *,
        span: str = "",
        quiet: bool = False,
        on_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._model = model
        self._request = request
        self._deltas = Deltas(bus, key, request=span, quiet=quiet)
        self._on_call = on_call
        self._usage = ModelUsage()
        self._begun = asyncio.Event()

    async def run(
        self,
        interrupt: asyncio.Event,
        waits_interrupt: Callable[[], Awaitable[bool]],
        draining: asyncio.Event,
        drain_timeout: float,
        on_begin: Callable[[], Awaitable[None]] | None = None,
    ) -> CallOutcome:
        """Wait for the answer; `on_begin` is awaited once when it begins, unless it is complete by then.

        When it is cut short, the connection to the model is closed before this returns.
        """
        loop = asyncio.get_running_loop()
        reading = asyncio.create_task(self._read())
        signals = [asyncio.create_task(interrupt.wait()), asyncio.create_task(draining.wait())]
        if on_begin is not None:
            signals.append(asyncio.create_task(self._begun.wait()))
        give_up: float | None = None
        try:
            while not reading.done():
                await asyncio.wait(
                    [reading, *(s for s in signals if not s.done())], timeout=LOOK, return_when=asyncio.FIRST_COMPLETED
                )
                if reading.done():
                    break
                if on_begin is not None and self._begun.is_set():
                    told, on_begin = on_begin, None
                    await told()
                    continue
                if draining.is_set():
                    give_up = give_up or loop.time() + drain_timeout
                    if loop.time() >= give_up:
                        return self._asked(handed_over=True)
                if interrupt.is_set() or await waits_interrupt():
                    return self._asked()
            return self._asked(answer=reading.result())
        except ModelFailure as exc:
            return self._asked(failure=exc)
        finally:
            for signal in signals:
                signal.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._deltas.close()

    def _asked(
        self, *, answer: Response | None = None, failure: ModelFailure | None = None, handed_over: bool = False
    ) -> CallOutcome:
        return CallOutcome(answer, failure, self._deltas.ids, self._deltas.texts, self._usage, handed_over)

    async def _read(self) -> Response:
        async for piece in self._model.stream(self._request):
            self._begun.set()
            if isinstance(piece, Response):
                await self._deltas.flush()
                return piece
            if isinstance(piece, UsageUpdate):
                self._usage = piece.usage
            else:
                if isinstance(piece, BlockStart) and piece.type == "tool_use":
                    self._on_call()
                await self._deltas.add(piece)
        raise ModelFailure("model_request_failed_error", "The model's answer did not end.", retryable=True)
