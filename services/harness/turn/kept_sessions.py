"""What this process knows of sessions that it released: a first delivery may be claimed by that (rules 1 and 4).

Nothing here is true of the log as it is: another replica, or the session service, may have appended since. The log then
refuses the claim.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.bus.inputs import PendingInput
from holdfast.harness.conversation.context import Contexts
from holdfast.harness.turn.inbox_watch import InboxWatch, contiguous_from

KEPT_SESSIONS_LIMIT: Final = 128
"""Sessions that are kept, each with a subscription of its arrivals; the one released first is forgotten first."""

KEPT_SIZE_LIMIT: Final = 32 * 1024 * 1024
"""Characters of the conversations that are kept, together."""


class KeptSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it was when this process released it."""

    inbox: str
    """Epoch of the inbox stream that `taken` of its head counts in."""
    last: Stored
    """The commit that released it."""
    contexts: Contexts
    """Folded up to `last`."""
    watch: InboxWatch
    """Hears its arrivals since before the release."""

    @property
    def size(self) -> int:
        """The characters of its conversation."""
        return self.contexts.size

    def batch(self, seq: int, inbox: str) -> Sequence[PendingInput]:
        """The inputs with which the first delivery of input `seq` may claim the session (rule 4): its own, or none.

        None if the connection broke since the release, or if that input was not heard as the next one. If another was
        heard before it, another replica has most likely claimed the session for that one.
        """
        if inbox != self.inbox or self.watch.gap.is_set():
            return ()
        taken = self.last.commit.head.taken_in(inbox)
        above = [p for p in self.watch.heard or () if p.above(taken)][:1]
        return above if above and above[0].seq == seq and contiguous_from(above, taken) else ()


class KeptSessions:
    """The sessions that this process released last, bounded by their number and by their size."""

    def __init__(self, *, sessions: int = KEPT_SESSIONS_LIMIT, size: int = KEPT_SIZE_LIMIT) -> None:
        self._limits = sessions, size
        self._kept: dict[Key, tuple[KeptSession, int]] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Key) -> bool:
        return key in self._kept

    def add(self, key: Key, session: KeptSession) -> list[InboxWatch]:
        """Keep a session. Returns the watches of those that are forgotten for it, which are to be closed."""
        forgotten = [self.pop(key)]
        self._kept[key] = session, session.size
        self._size += self._kept[key][1]
        while len(self._kept) > self._limits[0] or self._size > self._limits[1]:
            forgotten.append(self.pop(next(iter(self._kept))))
        return [kept.watch for kept in forgotten if kept is not None]

    def pop(self, key: Key) -> KeptSession | None:
        """Return what is kept of a session, and forget it."""
        session, size = self._kept.pop(key, (None, 0))
        self._size -= size
        return session
