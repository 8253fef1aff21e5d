"""Refuses requests that would store something while the disk under the event log is full.

NATS does not answer a write that finds no room: without this check a client would wait half a minute, and would not be
told why.
"""

from typing import Any, Final

from holdfast.process import disk
from holdfast.session.events.schema import EventsSend, SentInterrupt
from holdfast.session.http.errors import storage_full
from holdfast.session.http.routing import Route

BYTES_PER_MB: Final = 1_000_000


class DiskSpaceCheck:
    """`folder` as in SessionSettings.disk_folder. A check costs one system call."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._level: disk.Level = "enough"

    def check(self, route: Route, content: Any) -> None:
        """Raise ApiError 507 for a request that stores something.

        Requests that end something (delete, archive, interrupt, revoke) pass as long as the disk has any room left.
        """
        room = self._measure()
        if room and self._level == "full" and (room.is_empty or not _ends_work(route, content)):
            free_mb, needed_mb = room.free // BYTES_PER_MB, room.full_below * disk.RECOVERY_FACTOR / BYTES_PER_MB
            raise storage_full(f"the disk of this stack is full ({free_mb} MB free, {needed_mb:.0f} MB needed)")

    def is_full(self) -> bool:
        """Whether no new work may begin."""
        return self._measure() is not None and self._level == "full"

    def room_for_files(self) -> int | None:
        """Bytes that files may still take: they leave what is kept free for sessions. None: it is not known."""
        room = self._measure()
        return None if room is None else max(0, room.free - room.low_below)

    def _measure(self) -> disk.Space | None:
        """The space of the disk, by which the level is set; None without a disk to look at."""
        if not self._folder:
            return None
        room = disk.space(self._folder)
        self._level = room.level(self._level)
        return room


def _ends_work(route: Route, content: Any) -> bool:
    if route.method == "DELETE" or route.path.endswith(("/archive", "/revoke")):
        return True
    return isinstance(content, EventsSend) and all(isinstance(event, SentInterrupt) for event in content.events)
