"""What is known of the inbox of a claimed session without reading it, and what is left to wait in it (rule 5)."""

from collections.abc import Collection, Sequence
from contextlib import aclosing

from holdfast.bus.api import Inbox
from holdfast.bus.inputs import PendingInput, Taken, taken_after
from holdfast.harness.turn.appender import Appender
from holdfast.harness.turn.inbox_batches import readable
from holdfast.harness.turn.inbox_watch import InboxWatch, contiguous_from
from holdfast.harness.turn.ingest import busy_threads, waits_for


class KnownInputs:
    """The position up to which inputs were read or heard, and the threads for which some of them are left to wait.

    Messages to busy threads are left in the inbox. Those that were left are not read again for each further message:
    10,000 of them would be read 10,000 times.
    """

    def __init__(
        self, inbox: Inbox, appender: Appender, watch: InboxWatch, asking: Collection[str], *, known: bool
    ) -> None:
        """`asking`: the threads whose model request is in flight. `known`: the inbox was read up to `taken`."""
        self._inbox = inbox
        self._appender = appender
        self._watch = watch
        self._asking = asking
        self._upto: Taken | None = appender.taken if known else None
        """The inputs up to here were read or heard; those above `taken` were left to wait. None: read the inbox."""
        self._left_for: frozenset[str] = frozenset()
        """The threads for which those were left."""
        self._forgets = 0
        """Calls of `forget`: one during a read means that another read has to follow."""
        watch.expect_from(self._upto)

    @property
    def nothing_waits(self) -> bool:
        """True if everything that was stored is known and taken, as far as one can tell without reading."""
        watch = self._watch
        return self._upto == self._appender.taken and not watch.any.is_set() and not watch.gap.is_set()

    def forget(self) -> None:
        """Nothing is known any more: the inbox has to be read."""
        self._forgets += 1
        self._know(None)

    def _know(self, upto: Taken | None) -> None:
        self._upto = upto
        self._watch.expect_from(upto)

    def heard(self) -> Sequence[PendingInput] | None:
        """The inputs to take of what was heard since the last call; None if the inbox has to be read."""
        appender, watch = self._appender, self._watch
        behind = appender.behind_trigger
        stay = self._left_for <= busy_threads(appender.head, self._asking)
        if self._upto is not None and stay and not (behind or watch.any.is_set() or watch.gap.is_set()):
            return ()
        known = None if behind or watch.gap.is_set() else self._upto
        heard = watch.clear()
        inputs = contiguous_from(heard, known) if known is not None and heard is not None else None
        if known is None or inputs is None:
            return None
        further = waits_for(appender.head, inputs, self._asking)
        if self._left_for and not (stay and (further or not inputs)):
            return None
        self._left_for |= further
        self._know(taken_after(known, inputs))
        return () if self._left_for else inputs

    async def all_stays(self) -> bool:
        """Read what waits behind the inputs that were left. True if nothing is to be taken: all of it is left too.

        It is read one by one and not kept: it may be more than fits into memory.
        """
        appender = self._appender
        busy = busy_threads(appender.head, self._asking)
        if appender.behind_trigger or not busy:
            return False
        at, left = appender.taken, frozenset[str]()
        if self._upto is not None and self._left_for <= busy:
            at, left = self._upto, self._left_for
        forgets = self._forgets
        async with aclosing(readable(self._inbox, appender.key, at)) as inputs:
            async for pending in inputs:
                further = waits_for(appender.head, [pending], self._asking)
                if not further:
                    return False
                left |= further
                at = at.upto(pending.source, pending.seq)
        if not left <= busy_threads(appender.head, self._asking):
            return False  # a thread came to its boundary meanwhile
        self._left_for = left
        self._know(at if forgets == self._forgets else None)
        return True

    def begin_read(self) -> int:
        """A read begins of all that waits. Returns what `end_read` wants."""
        self._know(None)
        return self._forgets

    def end_read(self, forgets: int) -> None:
        """All of it is taken."""
        self._left_for = frozenset()
        self._know(self._appender.taken if forgets == self._forgets else None)
