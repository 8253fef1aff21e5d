"""The faults between a process and the bus in memory. `Faults` injects none; a simulator overrides its methods."""

import asyncio
from typing import Literal

Fate = Literal["good", "lost", "unanswered", "late"]
"""Of a request: executed and answered; never arrived; executed, answer lost; executed too late."""


class Faults:
    """Asked by the memory bus at every await; `process` is the name of the process, `operation` that of the call."""

    async def pause(self, process: str, operation: str) -> None:
        """Called before an effect and before its answer. May take any time, and may never return."""
        await asyncio.sleep(0)

    def fate(self, process: str, operation: str) -> Fate:
        """How a request ends."""
        return "good"

    def lag(self, process: str, operation: str) -> float:
        """Seconds by which the replica that answers a read lags behind the leader."""
        return 0.0

    def delay(self, process: str, operation: str) -> float:
        """Seconds a message travels, or until a request with fate `late` is executed."""
        return 0.0

    def pick(self, count: int) -> int:
        """The index of the candidate to use, where the server may choose any of `count`."""
        return 0

    def reads_input(self, process: str, data: bytes) -> None:
        """Called when a process decodes an inbox message; raises CancelledError if the process dies of it."""

    def repeats(self, process: str, operation: str) -> bool:
        """True if a message arrives a second time."""
        return False
