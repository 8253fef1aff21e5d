"""What may go wrong between a process and the bus. This one is calm; a simulator overrides it."""

import asyncio
from typing import Literal

Fate = Literal["good", "lost", "unanswered", "late"]
"""Of a request: carried out and answered; never arrived; carried out, answer lost; carried out too late."""


class Weather:
    """Asked by the memory bus at every await; `who` is the name of the process, `what` the operation."""

    async def pause(self, who: str, what: str) -> None:
        """Before an effect and before its answer. May take any time, and may never return."""
        await asyncio.sleep(0)

    def fate(self, who: str, what: str) -> Fate:
        return "good"

    def lag(self, who: str, what: str) -> float:
        """Seconds by which the replica that answers a read lags behind."""
        return 0.0

    def delay(self, who: str, what: str) -> float:
        """Seconds a message travels, or until what is late lands."""
        return 0.0

    def pick(self, count: int) -> int:
        """Which of `count` equal ones."""
        return 0

    def read(self, who: str, data: bytes) -> None:
        """A process decodes an inbox message: it may die of that."""

    def twice(self, who: str, what: str) -> bool:
        """Whether a message arrives a second time."""
        return False
