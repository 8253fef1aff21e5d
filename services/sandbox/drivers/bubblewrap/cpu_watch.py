"""Puts a sandbox that computes for long behind the others, so that these and the services need not wait for it.

Control groups share processor time out evenly, but a process that wakes up still waits until the one that runs has used
up its slice: some milliseconds for each sandbox that computes, at each of the dozen steps of a tool call; and whole
seconds beside some with many threads that wake each other (Linux 6.18). A group of the least weight gives way at once,
and gets all that is left over.
"""

import asyncio
import math
from typing import Final

import structlog

from holdfast.sandbox.drivers.bubblewrap.control_group import ControlGroup

log = structlog.get_logger()

POLL_S: Final = 0.25
"""Seconds between two looks at the processor time of a sandbox."""

MEMORY_S: Final = 3.0
"""Seconds in which what a sandbox has used falls to a third of its weight in the average."""

BUSY: Final = 0.25
"""Processors used on average above which a sandbox goes behind the others. One busy processor does after 0.9 s."""

QUIET: Final = 0.05
"""Processors used on average below which it comes back: 9 s after it has used two."""

BURST_MEMORY_S: Final = 0.5
"""The same for the average of the last moment: beside sandboxes of many threads, others wait for whole seconds."""

BURST_BUSY: Final = 0.35
"""Processors used in the last moment above which a sandbox goes behind. One busy processor does after 0.3 s."""

BURST_QUIET: Final = 0.1
"""Processors used in the last moment below which it comes back, if it has computed for that moment only."""


class Load:
    """The processors that a sandbox has used on average, and whether it is to stay behind the others. Pure."""

    def __init__(self) -> None:
        self._long = _Average(MEMORY_S, BUSY, QUIET)
        self._burst = _Average(BURST_MEMORY_S, BURST_BUSY, BURST_QUIET)

    @property
    def is_behind(self) -> bool:
        """Whether the others come first."""
        return self._long.is_high or self._burst.is_high

    def add(self, used_s: float, elapsed_s: float) -> bool:
        """Count `used_s` seconds of processor time in the last `elapsed_s` seconds; returns `is_behind`.

        While it is behind, a sandbox may get too little to be called busy. So it comes back late.
        """
        self._long.add(used_s, elapsed_s)
        self._burst.add(used_s, elapsed_s)
        return self.is_behind


class _Average:
    """Processors used on average; what is `memory_s` seconds old counts a third. Is high from `high` until `low`."""

    def __init__(self, memory_s: float, high: float, low: float) -> None:
        self._memory_s = memory_s
        self._high = high
        self._low = low
        self._value = 0.0
        self.is_high = False

    def add(self, used_s: float, elapsed_s: float) -> None:
        kept = math.exp(-elapsed_s / self._memory_s)
        self._value = kept * self._value + (1 - kept) * used_s / elapsed_s
        self.is_high = self._value > (self._low if self.is_high else self._high)


async def watch(group: ControlGroup) -> None:
    """Watch the group until it is gone; return at once where the kernel or the hierarchy cannot do it."""
    clock = asyncio.get_running_loop().time
    load = Load()
    try:
        used, at, is_behind = group.cpu_seconds(), clock(), False
        group.set_behind(on=False)
        while True:
            await asyncio.sleep(POLL_S)
            used_before, at_before = used, at
            used, at = group.cpu_seconds(), clock()
            if load.add(used - used_before, at - at_before) != is_behind:
                is_behind = load.is_behind
                group.set_behind(on=is_behind)
    except OSError as exc:
        log.debug("the processor time of a sandbox is not watched", cause=str(exc))
