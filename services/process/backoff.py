"""The pauses between attempts: they double with each failure, up to a longest one. Pure."""

from typing import Final

import msgspec

DOUBLINGS_LIMIT: Final = 30
"""Doublings of the first pause after which it is not computed further, so that the number stays finite."""


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses between attempts, in seconds."""

    first_s: float
    longest_s: float
    jitter: float = 0.25
    """Largest share of a pause that is subtracted at random. Processes that failed together, at a change of the bus's
    leader for example, then do not all try again at the same moment."""

    def pause_s(self, failures: int, chance: float) -> float:
        """The pause after that many failures in a row, at least one.

        `chance` is a random number from 0 to 1: the share of the jitter that is subtracted.
        """
        doubled = self.first_s * 2.0 ** min(failures - 1, DOUBLINGS_LIMIT)
        return min(doubled, self.longest_s) * (1 - self.jitter * chance)


BUS_BACKOFF: Final = Backoff(first_s=0.1, longest_s=0.5)
"""Pauses of a process that waits for the bus. They are short, because the client of the bus has already repeated a
request for up to 15 s when it fails."""
