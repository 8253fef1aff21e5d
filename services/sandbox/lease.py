"""How long a worker may act on its registration (rule 16). All times are loop time, in seconds. Pure."""

from typing import Final

import msgspec

REFRESH_SHARE: Final = 1 / 3
"""Share of the lease between two refreshes."""

START_SHARE: Final = 2 / 3
"""Share of the lease without a refresh in which new calls may still start."""

END_SHARE: Final = 5 / 6
"""Share of the lease after which the worker kills its sandboxes. The rest is the time that the killing may take: it
must be over when the registration expires and other workers take the sessions over."""


class Lease(msgspec.Struct, frozen=True):
    """A registration that expires `duration` seconds after it was stored.

    Only `sent` is known, the time when the request to store it was sent. It was stored no earlier than that, so
    counting from `sent` is safe.
    """

    duration: float
    sent: float

    def may_start(self, now: float) -> bool:
        """Whether a call may start or a sandbox may be made."""
        return now < self.sent + START_SHARE * self.duration

    @property
    def end(self) -> float:
        """Time at which the sandboxes must be killed."""
        return self.sent + END_SHARE * self.duration

    @property
    def refresh_due(self) -> float:
        """Time of the next refresh."""
        return self.sent + REFRESH_SHARE * self.duration
