"""How much of a server's time one process may take for erasing."""

import asyncio

PAUSE_FACTOR = 3.0
"""The pause after each message is at least this many times as long as its erasing took."""

SHARE = 0.01
"""Part of the time that erasing may take in the long run: meanwhile the stream stores nothing else."""

BURST_S = 3.0
"""Seconds of erasing that are saved up at most, so that a short session is erased at once."""


class EraseBudget:
    """Seconds of erasing that are saved up; below zero they are owed."""

    def __init__(self) -> None:
        self._saved_s = BURST_S
        self._at = 0.0
        """Loop time of the last change."""

    async def pause(self, took_s: float) -> None:
        """Pause after a message whose erasing took that long."""
        now = asyncio.get_running_loop().time()
        self._saved_s = min(BURST_S, self._saved_s + SHARE * (now - self._at)) - took_s
        self._at = now
        await asyncio.sleep(max(PAUSE_FACTOR * took_s, -self._saved_s / SHARE))
