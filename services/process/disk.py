"""Free space of a file system, and the three levels on which the services act.

On `low` they warn. On `full` they refuse new work; the space that is left is the reserve in which running sessions
write their ends.
"""

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

Level = Literal["enough", "low", "full"]

LOW_LIMIT_BYTES: Final = 1_000_000_000
LOW_LIMIT_FRACTION: Final = 0.05
"""A file system is low if less is free than the smaller of both: these bytes, this fraction of its size."""

FULL_LIMIT_BYTES: Final = 64_000_000
FULL_LIMIT_FRACTION: Final = 0.01
"""A file system is full if less is free than the smaller of both."""

RECOVERY_FACTOR: Final = 1.25
"""A level ends when this multiple of its limit is free, so that it does not flap around the limit."""

EMPTY_LIMIT_BYTES: Final = 1_000_000
"""Free bytes below which not even the end of a session can be written."""


class Space(msgspec.Struct, frozen=True):
    """Size of a file system, and the part that is free for an ordinary user, in bytes."""

    total: int
    free: int

    @property
    def low_below(self) -> int:
        """Free bytes below which it is low."""
        return int(min(LOW_LIMIT_BYTES, self.total * LOW_LIMIT_FRACTION))

    @property
    def full_below(self) -> int:
        """Free bytes below which it is full."""
        return int(min(FULL_LIMIT_BYTES, self.total * FULL_LIMIT_FRACTION))

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all can be written reliably."""
        return self.free < EMPTY_LIMIT_BYTES

    def level(self, before: Level = "enough") -> Level:
        """The level now, if `before` was the level at the last measurement."""
        if self.free < self.full_below * (RECOVERY_FACTOR if before == "full" else 1):
            return "full"
        if self.free < self.low_below * (RECOVERY_FACTOR if before != "enough" else 1):
            return "low"
        return "enough"


def space(folder: str | Path) -> Space:
    """Size and free space of the file system of `folder`. Raises OSError."""
    stat = os.statvfs(folder)
    return Space(total=stat.f_blocks * stat.f_frsize, free=stat.f_bavail * stat.f_frsize)
