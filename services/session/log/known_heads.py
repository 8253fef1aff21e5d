"""The heads of sessions as the projector has heard them, so that a message is accepted without a read of the log. Pure.

A head that is known may be a moment old, like one that a replica of the log gives. What is decided by it must bear
that: a message for a session that was archived or deleted at that moment is taken from the inbox and starts no turn
(rules 2 and 5).
"""

from collections import OrderedDict
from typing import Final

import msgspec

from holdfast.bus.head import Head
from holdfast.bus.ids import Key

KNOWN_HEADS_LIMIT: Final = 2_000
"""Sessions whose head is kept, those that changed last; a head has one to some KB."""


class KnownHead(msgspec.Struct, frozen=True):
    """The head of a session after the commit with the sequence `seq`."""

    seq: int
    head: Head


class KnownHeads:
    """Of sessions of the cells whose log is heard to its end."""

    def __init__(self, limit: int = KNOWN_HEADS_LIMIT) -> None:
        self._limit = limit
        self._heads: OrderedDict[Key, tuple[int, Head | None]] = OrderedDict()
        """With the sequence of their commit; None: that commit cannot be read."""
        self._heard: set[str] = set()
        """The cells whose log is heard to its end."""

    def __len__(self) -> int:
        return len(self._heads)

    def find(self, key: Key) -> KnownHead | None:
        """The head of a session that exists, if it is known."""
        seq, head = self._heads.get(key, (0, None))
        return None if head is None or head.deleted else KnownHead(seq, head)

    def seq(self, key: Key) -> int:
        """The sequence of the last commit that was heard of the session; 0 if none was."""
        return self._heads.get(key, (0, None))[0]

    def begin(self, cell: str) -> None:
        """From now on every commit of the cell is put in as it is stored, until `end`."""
        self._heard.add(cell)

    def end(self, cell: str) -> None:
        """The log of the cell is not heard any more: forget its sessions."""
        self._heard.discard(cell)
        for key in [key for key in self._heads if key.cell == cell]:
            del self._heads[key]

    def put(self, key: Key, seq: int, head: Head | None) -> None:
        """Keep the head of a commit, unless a later one is known. None: a newer version has written the commit."""
        if key.cell not in self._heard or self.seq(key) >= seq:
            return
        self._heads[key] = seq, head
        self._heads.move_to_end(key)
        if len(self._heads) > self._limit:
            self._heads.popitem(last=False)
