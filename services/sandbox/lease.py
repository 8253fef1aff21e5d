"""How long a worker may act on its registration (rule 16). Pure: times are loop time, in seconds."""

from typing import Final

import msgspec

START: Final = 2 / 3
"""Share of the registration's life without refresh in which new calls may still start."""

END: Final = 5 / 6
"""Share after which the worker kills its sandboxes; the rest is for the killing, which is over when it expires."""

REFRESH: Final = 1 / 3
"""Share between two refreshes."""


class Lease(msgspec.Struct, frozen=True):
    """A registration that lives `life` seconds from when it was stored, which was not before `sent`."""

    life: float
    sent: float

    def may_start(self, now: float) -> bool:
        """Whether a call may start, or a sandbox be made."""
        return now < self.sent + START * self.life

    @property
    def end(self) -> float:
        """When the sandboxes must be killed."""
        return self.sent + END * self.life

    @property
    def refresh(self) -> float:
        """When to refresh next."""
        return self.sent + REFRESH * self.life
