"""What a watch of a bucket has told, so that it tells each change once and no older one after it. Pure.

Three sources tell of one key: the republished changes, which come in order; lists, which any replica answers, also one
that lags; and the leader. A replica that lags lists a key that was deleted, at its last revision before that.
"""

from collections import OrderedDict
from typing import Final

from holdfast.bus.api import Entry

REMEMBERED_DELETIONS: Final = 100_000
"""Deleted keys whose revision is remembered; the oldest deletion is forgotten first. A replica that lags lists what was
deleted within seconds."""


class Watched:
    """The newest revision of each key that was told."""

    def __init__(self, remembered_deletions: int = REMEMBERED_DELETIONS) -> None:
        self._limit = remembered_deletions
        self.present: dict[str, int] = {}
        """Revision of each key that exists, as far as was told."""
        self._deleted: OrderedDict[str, int] = OrderedDict()
        """Highest revision that each deleted key can have had before its deletion."""

    def is_news(self, entry: Entry) -> bool:
        """Whether the entry is newer than all that was told of its key; it counts as told from now on.

        The deletion of a key that was not told to exist is no news, but no older revision of it is from then on.
        """
        key, revision = entry.key, entry.revision
        if revision <= max(self.present.get(key, 0), self._deleted.get(key, 0)):
            return False
        if entry.value is not None:
            self._deleted.pop(key, None)
            self.present[key] = revision
            return True
        self._deleted[key] = revision - 1
        self._deleted.move_to_end(key)
        if len(self._deleted) > self._limit:
            self._deleted.popitem(last=False)
        return self.present.pop(key, 0) > 0
