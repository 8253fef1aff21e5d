"""Deliveries made by the test itself, handled by a harness inside the test, against the real bus."""

import contextlib
import time
from collections.abc import AsyncGenerator

from holdfast.bus.api import Bus
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.harness.models.interface import Endpoint
from holdfast.harness.models.registry import MODELS
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.dispatch import Dispatcher
from tests.support.stack import Stack


class ForgedDelivery:
    """A delivery of the inbox message `seq`, for the `count`-th time. Its ack removes nothing."""

    source: Source = "in"
    number = 0
    """No number: nobody may refuse this delivery in the place of its holder, which answers no ping."""

    def __init__(self, key: Key, seq: int, count: int = 1) -> None:
        self.key, self.seq, self.count = key, seq, count
        self.newer = False
        self.passed_on = True  # it is for the intruder alone
        self.acked = False
        self.refused = False

    async def ack(self, *, sure: bool = True) -> None:
        self.acked = True

    async def nak(self, delay: float = 0.0) -> None:
        self.refused = True

    async def in_progress(self) -> None:
        """Nobody listens."""


@contextlib.asynccontextmanager
async def intruder(stack: Stack, bus: Bus) -> AsyncGenerator[Dispatcher]:
    """Another harness, named `intruder`, that handles what the test hands to it."""
    model = MODELS["messages"](Endpoint(base_url=stack.model.base_url, key="any", silence=30))
    settings = HarnessSettings()
    try:
        yield Dispatcher(bus, model, settings, name="intruder-1", now=lambda: time.time_ns() // 1000)
    finally:
        await model.close()
