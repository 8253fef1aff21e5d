"""Appends to the log of one session under one claim, and folds what is appended (rules 6, 7 and 9)."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.commits import InboxPosition, Stored, commit
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.head import Claim, Head, Thread, advance
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import Source, Taken
from holdfast.harness.conversation.context import Context, Contexts
from holdfast.harness.turn.claim import is_done
from holdfast.harness.turn.commit_metrics import note_commit
from holdfast.harness.turn.decide import view
from holdfast.harness.turn.replica import Replica
from holdfast.process.backoff import Backoff
from holdfast.process.retry import Attempts

CATCH_UP_ATTEMPTS: Final = 15
"""Reads at the leader after a refused append; a log that shows nothing new after them was set back by its server."""

CATCH_UP_BACKOFF: Final = Backoff(first_s=0.05, longest_s=1.0)
"""Pauses between them: about 10 s together."""


class Fenced(Exception):
    """Another claim has the session: the runner stops without an ack or a NAK."""


class HeadMoved(Exception):
    """Something else was appended under the same claim: the next step must be decided again (rule 7)."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A commit to be: `release` gives the claim up, `progress` resets its failures (rules 6 and 9)."""

    events: Sequence[ev.Event] = ()
    taken: InboxPosition | None = None
    release: bool = False
    progress: bool = False


class ClaimedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session just after its claim was appended."""

    key: Key
    inbox: str
    """Epoch of the inbox stream that `taken` counts in."""
    claim: Claim
    config: ev.SessionConfig
    last: Stored
    """The commit that holds the claim."""
    contexts: Contexts
    """Folded up to `last`."""


class Appender:
    """The state of a claimed session. It changes only by commits: ours, or those that `catch_up` reads."""

    def __init__(self, replica: Replica, session: ClaimedSession) -> None:
        self._bus = replica.bus
        self._now = replica.now
        self._on_release = replica.on_release
        self.by = replica.name
        self.key = session.key
        self.inbox = session.inbox
        self.claim = session.claim
        self.config = session.config
        self.last = session.last
        self.contexts = session.contexts
        self._folded = asyncio.Event()
        """Set, and replaced by a new event, at each commit."""
        self.changed = asyncio.Event()
        """Set at each commit of a session with several threads: one that rests may have something to do."""
        self._given_up = False
        self._fenced = False
        """True once another claim was found in the log: then nothing is appended any more."""
        self._lock = asyncio.Lock()
        """Held during an append: the next one follows it."""
        self.released = False
        """True once a commit of ours has given the claim up."""

    @property
    def head(self) -> Head:
        """The head of the last commit that was folded."""
        return self.last.commit.head

    @property
    def taken(self) -> Taken:
        """Inbox position up to which inputs are in the log."""
        return self.head.taken_in(self.inbox)

    @property
    def behind_trigger(self) -> bool:
        """True if the trigger of the claim is not in the log yet."""
        return self.taken.of(self.claim.source) < self.claim.trigger

    def head_after(self, events: Sequence[ev.Event]) -> Head:
        """The head as it would be after those events."""
        return advance(self.head, events, self._now())

    async def append(self, make: Callable[[Head], Draft], *, valid: Callable[[Head], bool] | None = None) -> None:
        """Append one commit: what `make` makes of the head that it follows. Raises HeadMoved, Fenced, Unavailable.

        Threads append one after another. `valid` says whether the decision still holds after what other threads, or
        the session service, have appended since it was made; without it no other commit may come between.
        """
        async with self._lock:
            while True:
                if self.released or self._fenced:  # another thread has released the claim, or found it lost
                    raise Fenced
                if valid is not None and not valid(self.head):
                    raise HeadMoved
                if await self._append(make(self.head)):
                    return
                if valid is None:
                    raise HeadMoved

    async def _append(self, draft: Draft) -> bool:
        """Append it after the last commit. False if the log refused it; then what it has gained is folded."""
        taken = draft.taken
        if draft.release and self.behind_trigger:
            taken = InboxPosition(self.inbox, self.taken.upto(self.claim.source, self.claim.trigger))
        if draft.progress and self.claim.failures:
            self.claim = replace(self.claim, failures=0)
        claim = None if draft.release else (self.claim if self.claim != self.head.claim else UNSET)
        made = commit(self.last, draft.events, by=self.by, new_id=new_id, now=self._now(), claim=claim, taken=taken)
        if draft.release:
            await self._on_release(self.key)
        try:
            seq = await self._bus.log.append(self.key, made, self.last.seq)
        except Conflict:
            try:
                await self.catch_up()
            except Fenced:
                self._fenced = True
                raise
            return False
        note_commit(self.key, self.head, made)
        self.fold(Stored(seq, made))
        self.released = draft.release
        return True

    async def hand_back(self) -> None:
        """Give the claim up and take nothing, so that a newer version takes the trigger and all before it. Best effort.

        Without it a redelivery to a process of this version would count as a takeover that failed (rule 4).
        """
        made = commit(self.last, [], by=self.by, new_id=new_id, now=self._now(), claim=None)
        with contextlib.suppress(BusError):
            await self._bus.log.append(self.key, made, self.last.seq)

    def fold(self, stored: Stored) -> None:
        """Apply a commit that is in the log."""
        self.contexts.fold(stored)
        self.config = self.contexts.config or self.config
        self.last = stored
        if len(self.head.threads) > 1:
            self.changed.set()
        folded, self._folded = self._folded, asyncio.Event()
        folded.set()

    async def catch_up(self) -> None:
        """Read to the leader's end and fold (rule 7).

        Raises Fenced if the claim is not ours any more. Also if nothing follows the last commit, although an append
        behind it was refused: the log lost its end, say in a power cut, and nothing can be appended to what was folded.
        The next delivery begins with the log as it is.
        """
        before = self.last.seq
        async for _ in Attempts(CATCH_UP_BACKOFF, limit=CATCH_UP_ATTEMPTS):
            for stored in await self._bus.log.read(self.key, before, leader=True):
                self.fold(stored)
            if self.last.seq > before:
                break
        claim = self.head.claim
        if self.last.seq == before or claim is None or claim.id != self.claim.id:
            raise Fenced
        self.claim = claim

    def is_done(self, seq: int, source: Source) -> bool:
        """True if the message of that input may be acked (rule 2)."""
        return is_done(self.head, self.inbox, seq, source)

    @property
    def next_commit(self) -> asyncio.Event:
        """Set once the next commit is folded."""
        return self._folded

    async def folded(self) -> bool:
        """Wait for the next commit; False if this runner has ended."""
        if not self._given_up:
            await self._folded.wait()
        return not self._given_up

    def give_up(self) -> None:
        """End every `folded`: the claim is released or lost."""
        self._given_up = True
        self._folded.set()


class ThreadRun:
    """One thread of a claimed session: its latest state and context, and the appends of its steps."""

    def __init__(self, appender: Appender, thread_id: str) -> None:
        self._appender = appender
        self.id = thread_id
        self._decided_on = view(appender.head, thread_id)

    @property
    def state(self) -> Thread:
        return self._appender.head.thread(self.id)

    @property
    def context(self) -> Context:
        return self._appender.contexts.thread(self.id)

    def begin_step(self) -> Head:
        """The head that the next step is decided on. Its appends are refused once the thread's view of it is gone."""
        self._decided_on = view(self._appender.head, self.id)
        return self._appender.head

    async def append(
        self,
        events: Sequence[ev.Event] | Callable[[Head], Sequence[ev.Event]],
        *,
        release: bool | Callable[[Head], bool] = False,
        progress: bool = False,
        request: ev.ModelRequestStart | None = None,
    ) -> bool:
        """Append what the step decided (rule 6). Raises HeadMoved, Fenced, Unavailable.

        Events that depend on other threads are given as a function of the head that they follow, as is `release`, of
        the head after them. Events that follow from the model request `request` are valid while that is open: whatever
        happens beside it, the model need not be asked again. Returns whether the claim was released.
        """

        def make(head: Head) -> Draft:
            made = events(head) if callable(events) else events
            releases = release(self._appender.head_after(made)) if callable(release) else release
            return Draft(events=made, release=releases, progress=progress)

        def valid(head: Head) -> bool:
            if request is not None:
                return head.thread(self.id).request == request.id
            return view(head, self.id) == self._decided_on

        await self._appender.append(make, valid=valid)
        self.begin_step()
        return self._appender.released
