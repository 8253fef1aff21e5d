"""How many sessions of one tenant a replica drives at once, so that the others find a place.

Deliveries come in the order of the inbox. Without a limit one tenant with more busy sessions than there are places
takes them all, and what others say waits behind everything that it has said before. With one, a delivery beyond it is
refused before anything is read or claimed; the server delivers it again after a delay, to any replica.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from holdfast.bus.api import Delivery

REFUSALS_PER_S: Final = 100.0
"""Deliveries of one tenant that come back in a second, however many were refused: each costs a fraction of a
millisecond. So many of its turns can begin in a second while it is at its limit."""

SHORTEST_DELAY_S: Final = 0.25
LONGEST_DELAY_S: Final = 30.0


class TenantShares:
    """`most` sessions of one tenant at once; 0: no limit. Times are seconds of a clock that never goes back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: Counter[str] = Counter()
        self._last_return: dict[str, float] = {}
        """By tenant, when the delivery that was refused last comes back."""

    async def serve(
        self, delivery: Delivery, handle: Callable[[Delivery], Awaitable[None]], *, is_driven: bool
    ) -> None:
        """Handle the delivery in a place of its tenant, or refuse it. `is_driven`: its session has a place already."""
        tenant = delivery.key.tenant
        if is_driven:
            await handle(delivery)
        elif self.enter(tenant):
            try:
                await handle(delivery)
            finally:
                self.leave(tenant)
        else:
            await delivery.nak(self.delay_s(tenant, asyncio.get_running_loop().time()))

    def enter(self, tenant: str) -> bool:
        """Take a place for a session of the tenant; False if it has no more. Every True needs a `leave`."""
        if self._most and self._places[tenant] >= self._most:
            return False
        self._places[tenant] += 1
        return True

    def leave(self, tenant: str) -> None:
        """Give a place back."""
        self._places[tenant] -= 1
        if not self._places[tenant]:
            del self._places[tenant]
            self._last_return.pop(tenant, None)

    def delay_s(self, tenant: str, now: float) -> float:
        """Seconds after which a delivery that has found no place shall come back: one behind the other."""
        earliest = max(now + SHORTEST_DELAY_S, self._last_return.get(tenant, 0.0) + 1 / REFUSALS_PER_S)
        self._last_return[tenant] = min(earliest, now + LONGEST_DELAY_S)
        return self._last_return[tenant] - now
