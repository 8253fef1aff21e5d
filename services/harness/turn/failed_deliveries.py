"""Deliveries whose handling failed with an exception that no rule expects: a fault of ours (rule 24)."""

from typing import Final

import structlog

from holdfast.bus.api import Delivery
from holdfast.process import failures

LONGEST_NAK_DELAY_S: Final = 60.0

REMEMBERED_LIMIT: Final = 1000
"""Inputs whose failures are counted; the oldest is forgotten first, and begins again with a short delay."""

log = structlog.get_logger()


class FailedDeliveries:
    """Counts the failures of each input in this process, and has it delivered again after 2, 4, 8 … 60 s."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], int] = {}
        """By cell and inbox sequence."""

    def __len__(self) -> int:
        return len(self._counts)

    async def failed(self, delivery: Delivery) -> None:
        """Count a failure and NAK. Call it while the exception is handled: it is logged at the 1st, 2nd, 4th, 8th …"""
        number = (delivery.key.cell, delivery.seq)
        count = self._counts.pop(number, 0) + 1
        self._counts[number] = count
        if len(self._counts) > REMEMBERED_LIMIT:
            del self._counts[next(iter(self._counts))]
        delay_s = min(2.0 ** min(count, 10), LONGEST_NAK_DELAY_S)
        failure = failures.bug("delivery")
        if count & (count - 1) == 0:
            log.exception(  # noqa: LOG004  called while it is handled
                "delivery.failed",
                session=delivery.key.session,
                seq=delivery.seq,
                failures=count,
                delay_s=delay_s,
                failure=failure,
            )
        await delivery.nak(delay_s)

    def handled(self, delivery: Delivery) -> None:
        """It was handled without an exception: forget its failures."""
        self._counts.pop((delivery.key.cell, delivery.seq), None)
