"""Watches the disk under a stack: says when it gets full, and restarts NATS when there is room again.

After a failed write, nats-server 2.15 answers no publish to that stream until it is restarted, also when there is room
again. Acknowledged messages are not lost. It logs the failure, unless the log is on the same full disk, so a disk that
was seen with no free byte counts as a failed write too.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from holdfast.cli.embedded.sizes import human
from holdfast.cli.embedded.up_log import UpLog
from holdfast.process import disk

CHECK_INTERVAL_S: Final = 0.5

MIN_START_BYTES: Final = 16_000_000
"""With fewer free bytes nothing is started, because the servers could not make their files."""

FIRST_RESTART_PAUSE_S: Final = 5.0
MAX_RESTART_PAUSE_S: Final = 300.0
"""Pause between two restarts of NATS: doubled with each restart that did not help, up to the maximum."""

_WRITE_ERROR: Final = re.compile(rb"critical write error|failed to store|no space left|quota exceeded", re.IGNORECASE)

_READ_BYTES: Final = 1 << 20


class DiskFull(Exception):
    """The disk has no room to start; the text says how much is needed."""


def check_start(folder: Path) -> None:
    """Raises DiskFull when a stack could not start in `folder`, which need not exist yet."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    room = disk.space(there)
    needed = min(MIN_START_BYTES, room.full_below)
    if room.free < needed:
        raise DiskFull(
            f"the disk of {folder} is full: {human(room.free)} free, at least {human(needed)} are needed to start.\n"
            "Make room there, or choose a folder on another disk with --data FOLDER."
        )


class DiskWatch:
    """`folder` is the data folder, `nats_log` the log of nats-server, `restart_nats` restarts it at once."""

    def __init__(self, folder: Path, nats_log: Path, reporter: UpLog, restart_nats: Callable[[], None]) -> None:
        self._folder = folder
        self._log = nats_log
        self._reporter = reporter
        self._restart_nats = restart_nats
        self._level: disk.Level = "enough"
        self._read_to = nats_log.stat().st_size if nats_log.exists() else 0
        self._cause = ""
        self._restarted_at = float("-inf")
        self._pause = FIRST_RESTART_PAUSE_S

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            with contextlib.suppress(OSError):  # the next check may succeed
                self.check(disk.space(self._folder), asyncio.get_running_loop().time())
            await asyncio.sleep(CHECK_INTERVAL_S)

    def check(self, room: disk.Space, now: float) -> None:
        """Report a changed level, and restart NATS if it cannot write although there is room. `now` is in seconds."""
        before, self._level = self._level, room.level(self._level)
        if self._level != before:
            self._tell(before, room)
        if self._level == "full":
            self._pause = FIRST_RESTART_PAUSE_S
        if room.is_empty:
            self._cause = "the disk was full"
        if self._has_write_error():
            self._cause = self._cause or "it could not write (holdfast logs nats)"
        if self._cause and self._level != "full" and now - self._restarted_at >= self._pause:
            self._reporter.warn(f"restarting nats: {self._cause}")
            self._restart_nats()
            self._pause = min(self._pause * 2, MAX_RESTART_PAUSE_S)
            self._restarted_at = now
            self._cause = ""

    def _tell(self, before: disk.Level, room: disk.Space) -> None:
        free = human(room.free)
        match self._level:
            case "full":
                needed = human(room.full_below * disk.RECOVERY_FACTOR)
                self._reporter.warn(
                    f"the disk of {self._folder} is full ({free} free): new work is refused until {needed} are free; "
                    "then everything goes on by itself"
                )
            case "low" if before == "enough":
                self._reporter.warn(f"the disk of {self._folder} is getting full: {free} free")
            case _:
                self._reporter.say(f"the disk of {self._folder} has room again: {free} free")

    def _has_write_error(self) -> bool:
        """Whether NATS has logged a failed write since the last check."""
        try:
            size = self._log.stat().st_size
            if size < self._read_to:  # it was trimmed
                self._read_to = 0
            if size == self._read_to:
                return False
            with self._log.open("rb") as file:
                file.seek(max(self._read_to, size - _READ_BYTES))
                found = _WRITE_ERROR.search(file.read())
        except OSError:
            return False
        self._read_to = size
        return found is not None
