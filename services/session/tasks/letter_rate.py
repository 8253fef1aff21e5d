"""How fast tasks without a binding become dead letters: a token bucket for each tenant. Pure.

Whoever may publish tasks may publish them under kinds that nobody has bound. Each letter takes room on the disk of all
sessions, and its record some memory of the server for days. What comes faster waits in the queue, which is bounded.
"""

from typing import Final

LETTERS_AT_ONCE: Final = 100.0
"""Letters of a tenant that are written without a pause."""

LETTERS_PER_S: Final = 0.2
"""Further ones a second, of one replica of the service."""

MAX_TENANTS: Final = 1_000
"""Tenants whose letters are counted; the one that was counted first is forgotten first."""


class LetterRate:
    """Times are those of a clock in seconds that never goes back."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        """By tenant: letters that it has left, and when that was so."""

    def take(self, tenant: str, now: float) -> bool:
        """Whether one more letter of the tenant is written at `now`."""
        left, at = self._left.pop(tenant, (LETTERS_AT_ONCE, now))
        left = min(LETTERS_AT_ONCE, left + (now - at) * LETTERS_PER_S)
        takes = left >= 1
        self._left[tenant] = (left - 1 if takes else left, now)
        if len(self._left) > MAX_TENANTS:
            del self._left[next(iter(self._left))]
        return takes
