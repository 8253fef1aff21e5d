"""Where tasks that died are kept: those without a binding at a limited rate (rule 35)."""

import asyncio
from typing import Final

import structlog

from holdfast.bus.jetstream.tasks import DeadLetter, NatsTasks
from holdfast.session.tasks.letter_rate import LetterRate

TOLD_EACH_S: Final = 60.0
"""Seconds between two lines of the log that say that tasks wait."""

_log = structlog.get_logger()


class LeftInQueue(Exception):
    """The task stays in its queue for now: too many without a binding have died of late."""


class DeadLetters:
    """Every method raises BusError."""

    def __init__(self, tasks: NatsTasks) -> None:
        self._tasks = tasks
        self._rate = LetterRate()
        self._told_at = -TOLD_EACH_S
        """Loop time of the last line of the log."""

    async def bury(self, letter: DeadLetter) -> int:
        """Store a dead letter, and return its sequence. Raises LeftInQueue."""
        now = asyncio.get_running_loop().time()
        if not letter.bound and not self._rate.take(letter.tenant, now):
            if now - self._told_at >= TOLD_EACH_S:
                self._told_at = now
                _log.warning("too many tasks without a binding: they wait in the queue", tenant=letter.tenant)
            raise LeftInQueue
        return await self._tasks.bury(letter)

    async def erase(self, seq: int) -> None:
        """Remove a dead letter and overwrite its bytes on the disk; there need not be one."""
        await self._tasks.erase(seq)
