"""How much room a file system has, and what that means for a system that must be able to append.

`low` is a warning. `full` refuses new work while what runs can still be written down: the rest is its reserve.
"""

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

Level = Literal["enough", "low", "full"]

LOW_MOST: Final = 1_000_000_000
FULL_MOST: Final = 64_000_000
"""Free bytes below which a file system counts as low and as full, however large it is."""

LOW_SHARE: Final = 0.05
FULL_SHARE: Final = 0.01
"""The same as shares of the whole; on a small file system they are less than the bytes above."""

AGAIN: Final = 1.25
"""Factor of a limit that must be free before the level below it ends, so that it does not change all the time."""

EMPTY_BELOW: Final = 1_000_000
"""Free bytes below which not even the end of a session can be written."""


class Space(msgspec.Struct, frozen=True):
    """Bytes of a file system: all, and free for an ordinary user."""

    total: int
    free: int

    @property
    def low_below(self) -> int:
        return int(min(LOW_MOST, self.total * LOW_SHARE))

    @property
    def full_below(self) -> int:
        return int(min(FULL_MOST, self.total * FULL_SHARE))

    @property
    def is_empty(self) -> bool:
        return self.free < EMPTY_BELOW

    def level(self, before: Level = "enough") -> Level:
        """The level now; `before` is the one at the last look."""
        if self.free < self.full_below * (AGAIN if before == "full" else 1):
            return "full"
        if self.free < self.low_below * (AGAIN if before != "enough" else 1):
            return "low"
        return "enough"


def space(folder: str | Path) -> Space:
    """The room of the file system that holds `folder`. Raises OSError."""
    found = os.statvfs(folder)
    return Space(total=found.f_blocks * found.f_frsize, free=found.f_bavail * found.f_frsize)
