"""Requests that would store something are refused while the disk under the event log is full.

NATS gives no answer to what it cannot write. Without this check a client would wait half a minute, and would not be
told why.
"""

from typing import Any

from holdfast.process import disk
from holdfast.session.events.routes import EventsSend
from holdfast.session.events.validation import SentInterrupt
from holdfast.session.http.errors import storage_full
from holdfast.session.http.routing import Route


class RoomOnDisk:
    """`folder` as in SessionSettings.disk_folder. A check costs one system call."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._level: disk.Level = "enough"

    def check(self, route: Route, content: Any) -> None:
        """Raises Problem 507 for a request that stores something.

        What ends work (delete, archive, interrupt) is let through as long as there is anything left to write it to.
        """
        if not self._folder:
            return
        room = disk.space(self._folder)
        self._level = room.level(self._level)
        if self._level == "full" and (room.is_empty or not _ends_work(route, content)):
            free, needed = room.free // 1_000_000, room.full_below * disk.RECOVERY_FACTOR / 1_000_000
            raise storage_full(f"the disk of this stack is full ({free} MB free, {needed:.0f} MB needed)")


def _ends_work(route: Route, content: Any) -> bool:
    if route.method == "DELETE" or route.path.endswith("/archive"):
        return True
    return isinstance(content, EventsSend) and all(isinstance(event, SentInterrupt) for event in content.events)
