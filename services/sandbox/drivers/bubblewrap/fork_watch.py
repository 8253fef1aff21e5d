"""Ends processes of a sandbox that try again and again to start more than it may.

The kernel copies the address space of a process before it looks at the limit, and undoes that. All processes of the
host that map the same libraries wait for the same locks meanwhile: beside one fork bomb of 256 processes, on two
processors, nobody could start or end a process for up to 18 s.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from holdfast.sandbox.drivers.bubblewrap.control_group import ControlGroup

log = structlog.get_logger()

POLL_S: Final = 0.1
"""Seconds between two looks at the number of refused forks."""

MOST_REFUSED: Final = 20
"""Forks refused between two looks that end the processes. A program that sleeps a hundredth of a second before it
tries again has half as many; a fork bomb has hundreds, also beside others."""

PATIENCE_S: Final = 3.0
"""Seconds in which the agent ends them at every second look. If forks are still refused then, the sandbox ends."""

ENDED: Final = "its processes started others beyond their limit again and again, and could not be ended"

Step = Literal["none", "end processes", "end sandbox"]


class Refusals:
    """What to do about forks that were refused. Pure."""

    def __init__(self) -> None:
        self._since: float | None = None
        """Time since which too many have been refused at each look."""

    def add(self, refused: int, now: float) -> Step:
        """The next step, `refused` forks after the last look; `now` in seconds."""
        if refused < MOST_REFUSED:
            self._since = None
            return "none"
        if self._since is None:
            self._since = now
        return "end sandbox" if now > self._since + PATIENCE_S else "end processes"


async def watch(
    group: ControlGroup, most: int, end_processes: Callable[[], None], kill: Callable[[str], Awaitable[None]]
) -> None:
    """Watch the group until it is gone; return at once where nobody counts. `most`: the limit of processes.

    What was refused before the last ones were ended counts nothing: the next command is not to blame for it.
    `end_processes` asks the agent to end all that the model has started, `kill` ends the sandbox for a reason.
    """
    clock = asyncio.get_running_loop().time
    refusals = Refusals()
    try:
        count = group.refused_forks()
        while True:
            await asyncio.sleep(POLL_S)
            count_before = count
            count = group.refused_forks()
            is_full = group.processes() > most // 2
            step = refusals.add(count - count_before if is_full else 0, clock())
            if step == "end processes":
                log.info("processes of a sandbox are ended: they start too many others", refused=count - count_before)
                group.set_behind(on=False)  # the agent needs the processor to end them
                end_processes()
                await asyncio.sleep(POLL_S)
                count = group.refused_forks()
            elif step == "end sandbox":
                await kill(ENDED)
    except OSError as exc:
        log.debug("the forks of a sandbox are not watched", cause=str(exc))
