"""A token bucket: so many at once, and so many a second in the long run. Pure."""


class TokenBucket:
    """Times are those of a clock in seconds that never goes back."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._left = at_once
        self._at = 0.0

    def take(self, now: float) -> float:
        """Seconds until one more is admitted; 0.0: it is, and was taken."""
        self._fill(now)
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0

    def is_full(self, now: float) -> bool:
        """Whether nothing was taken for so long that a new bucket would be the same."""
        self._fill(now)
        return self._left >= self._at_once

    def _fill(self, now: float) -> None:
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_s)
        self._at = now
