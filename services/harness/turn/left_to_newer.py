"""Deliveries that this process leaves to a harness of a newer version, as during a rolling upgrade."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from holdfast.bus.errors import Newer
from holdfast.bus.ids import Key

NEWER_NAK_DELAY_S: Final = 5.0
"""Delay of a delivery that only a newer version can handle: long enough that an old replica alone costs nothing."""

MAX_SESSIONS: Final = 1_000
"""Sessions remembered at once, so that each is logged once; the oldest are forgotten first."""

log = structlog.get_logger()


class LeftToNewer:
    """Counts the deliveries, logs each session once, and tells `note` the sentence for the health report."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self.count = 0
        self._note = note
        self._logged: OrderedDict[Key, None] = OrderedDict()

    def add(self, key: Key, why: Newer) -> None:
        """One more delivery of that session was left."""
        self.count += 1
        self._note(f"{self.count} deliveries were left to a newer version of Holdfast: upgrade this process")
        if key in self._logged:
            return
        self._logged[key] = None
        if len(self._logged) > MAX_SESSIONS:
            self._logged.popitem(last=False)
        log.warning("session.left_to_newer_version", session=key.session, cause=str(why))
