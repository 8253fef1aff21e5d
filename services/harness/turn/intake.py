"""Moves inputs of a claimed session from its inbox into its log (rules 5, 8 and 11)."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import InboxPosition
from holdfast.bus.errors import BusError
from holdfast.bus.head import Head, interrupted_threads
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult, Nudge, PendingInput, Taken, taken_after
from holdfast.harness.turn.appender import Appender, Draft
from holdfast.harness.turn.inbox_watch import InboxWatch, contiguous_from, interrupts
from holdfast.harness.turn.ingest import (
    addressed,
    answered_results,
    before_newer,
    busy_threads,
    ingest,
    leaves_to_wait,
    waits_for,
)
from holdfast.harness.turn.replica import Replica
from holdfast.harness.turn.started_request import RequestsBeside, StartedRequest
from holdfast.process.faults import point

BOUNDARY_DELAY_S: Final = 0.25
"""Time in which a thread whose model request is not in flight usually comes to its next boundary."""

RENUDGE_DELAY_S: Final = 0.05
"""Time after a release in which a delivery may claim the session before `renudge` looks at it."""

log = structlog.get_logger()


class Intake:
    """The inbox of one claimed session: what was heard of it, what was read, what was taken.

    All threads of the session share it. The first that comes to a boundary takes for all.
    """

    def __init__(
        self,
        replica: Replica,
        appender: Appender,
        watch: InboxWatch,
        *,
        requests: dict[str, StartedRequest],
        inbox_known: bool,
    ) -> None:
        self._replica = replica
        self._bus = replica.bus
        self._appender = appender
        self._watch = watch
        self._taking = asyncio.Lock()
        self.requests = requests
        """Model requests whose start is stored, and whose response nobody reads yet; by thread."""
        self.asking: set[str] = set()
        """Threads whose model request is in flight."""
        self._known: Taken | None = appender.taken if inbox_known else None
        """The inputs up to here were read or heard; those above `taken` were left to wait. None: read the inbox."""
        self._left_for: frozenset[str] = frozenset()
        """The threads for which those were left."""
        self._watch_left = False
        watch.wake()
        watch.expect_from(self._known)

    def interrupt(self, thread: str) -> asyncio.Event:
        """Set while an interrupt of that thread was heard and not taken."""
        return self._watch.interrupt(thread)

    @property
    def any(self) -> asyncio.Event:
        """Set when an input was heard since the last `take`."""
        return self._watch.any

    @property
    def gap(self) -> asyncio.Event:
        """Set when an input may have been stored whose arrival was not heard."""
        return self._watch.gap

    def begin_asking(self, thread: str) -> None:
        """The thread's model request goes out. An interrupt that is heard from now on, or was not taken, ends it."""
        self._watch.forget_taken(self._appender.taken, self.asking)
        self.asking.add(thread)

    def end_asking(self, thread: str) -> None:
        """The thread's model request has ended."""
        self.asking.discard(thread)

    def forget(self) -> None:
        """Read the inbox at the next `take`."""
        self._know(None)

    def _know(self, known: Taken | None) -> None:
        self._known = known
        self._watch.expect_from(known)

    async def pending(self, *, upto: int = 0) -> list[PendingInput]:
        """Read what waits above `taken`, at least up to inbox sequence `upto`, and before any input of a newer version.

        Raises Newer if one of those up to `upto` is of a newer version.
        """
        found = await self._bus.inbox.pending(self._appender.key, self._appender.taken, upto=upto)
        return before_newer(found, upto=upto)

    async def take(self, may_start: Callable[[str], bool]) -> None:
        """Rule 5: append what waits above `taken`. Raises HeadMoved, Fenced, Newer, Unavailable.

        The inbox is not read if nothing was heard since it was known, or if what was heard is contiguous. If the next
        step of a thread for which `may_start` is true is a model request, the same commit starts it, in `requests`.
        """
        async with self._taking:
            try:
                inputs = await self._inputs()
                if inputs:
                    await self._append(inputs, may_start)
            except BaseException:
                self.forget()  # what was read is not in the log: another thread's take must not go on behind it
                raise

    async def append_results(self, results: Sequence[CallResult], thread: str) -> None:
        """Append results of the thread's calls that came in answers, and the start of the model request that follows.

        Rule 13. Inputs that wait are taken before a model request is started. Raises HeadMoved if none of the calls is
        open any more.
        """
        appender, watch = self._appender, self._watch
        ids = {result.id for result in results}
        size = sum(len(str(result.content)) for result in results)

        def make(head: Head) -> Draft:
            events = answered_results(head, results, new_id=new_id)
            nothing_waits = self._known == appender.taken and not watch.any.is_set() and not watch.gap.is_set()
            starts = self._start_requests(beside, events, size, lambda name: nothing_waits and name == thread)
            return Draft(events=[*events, *starts], progress=True)

        async with self._taking:
            point("harness.result_answered")
            async with RequestsBeside(self._replica) as beside:
                await appender.append(make, valid=lambda head: any(c.id in ids for c in head.calls))
            self.requests.update(beside.requests)
        point("harness.result_appended")

    async def _inputs(self) -> Sequence[PendingInput]:
        """The inputs to take now.

        Messages to busy threads are left in the inbox. Those that were left are not read again for each further
        message: 10,000 of them would be read 10,000 times.
        """
        appender, watch = self._appender, self._watch
        behind = appender.behind_trigger
        stay = self._left_for <= busy_threads(appender.head, self.asking)
        if self._known is not None and stay and not (behind or watch.any.is_set() or watch.gap.is_set()):
            return ()
        known = None if behind or watch.gap.is_set() else self._known
        heard = watch.clear()
        inputs = contiguous_from(heard, known) if known is not None and heard is not None else None
        if known is not None and inputs is not None and self._left_for:
            further = waits_for(appender.head, inputs, self.asking)
            if stay and (further or not inputs):
                self._left_for |= further
                self._know(taken_after(known, inputs))
                return ()
            inputs = None
        if inputs is None:
            inputs = await self.pending(upto=appender.claim.trigger if behind else 0)
        self._left_for = frozenset() if behind else waits_for(appender.head, inputs, self.asking)
        self._know(taken_after(appender.taken, inputs))
        return () if self._left_for else inputs

    async def _append(self, inputs: Sequence[PendingInput], may_start: Callable[[str], bool]) -> None:
        appender = self._appender
        progress = False

        def make(head: Head) -> Draft:
            nonlocal progress
            ingested = ingest(head, appender.config, inputs, appender.taken, new_id=new_id)
            starts = self._start_requests(beside, ingested.events, sum(len(p.data) for p in inputs), may_start)
            progress = ingested.progress
            return Draft(
                events=[*ingested.events, *starts],
                taken=InboxPosition(appender.inbox, ingested.taken, ingested.ids),
                progress=progress,
            )

        async with RequestsBeside(self._replica) as beside:
            await appender.append(make)
        self.requests.update(beside.requests)
        self._watch.forget_taken(appender.taken, self.asking)
        for thread in self.asking:
            if appender.head.thread(thread).interrupted:
                self._watch.interrupt(thread).set()
        if progress:
            point("harness.result_appended")

    def _start_requests(
        self, beside: RequestsBeside, events: Sequence[ev.Event], size: int, may_start: Callable[[str], bool]
    ) -> list[ev.ModelRequestStart]:
        """The starts of the requests that are the next steps after these events, which hold inputs of that size."""
        appender = self._appender
        return beside.start(
            appender.head_after(events),
            events,
            size=size,
            config=appender.config,
            contexts=appender.contexts,
            may_start=lambda thread: thread not in self.requests and may_start(thread),
        )

    async def unattended(self, turns: Collection[str]) -> None:
        """Return when an input should be taken that none of the running `turns` is about to take.

        A turn takes inputs at its next boundary. That is soon, unless a model request is in flight.
        """
        watch = self._watch
        while True:
            await watch.arrived.wait()
            watch.arrived.clear()
            head, heard = self._appender.head, watch.heard
            missed = heard is None or (watch.gap.is_set() and len(head.threads) > 1)
            if heard is not None and not missed and leaves_to_wait(head, heard, self.asking):
                continue
            if heard is not None and addressed(head, heard) <= {*turns} and len(turns) > len(self.asking):
                await asyncio.sleep(BOUNDARY_DELAY_S)
            if watch.any.is_set() or watch.gap.is_set():
                return

    async def interrupt_waits(self, thread: str) -> bool:
        """Read the inbox: True if an interrupt of the thread is in it. The watch is best effort and may miss it."""
        if self._watch.gap.is_set():
            self._watch.gap.clear()
            self.forget()
        try:
            pending = await self.pending()
        except BusError:
            return False  # the response is worth waiting for; the next read may succeed
        head = self._appender.head
        found = any(thread in interrupted_threads(head, e) for p in pending for e in interrupts(p))
        if found:
            self.forget()
        return found

    async def result_waits(self) -> bool:
        """Read the inbox: True if the result of an open call is in it. It is taken next."""
        open_calls = {c.id for c in self._appender.head.calls}
        found = any(isinstance(p.input, CallResult) and p.input.id in open_calls for p in await self.pending())
        if found:
            self.forget()
        return found

    async def wait(self, seconds: float) -> None:
        """Return when an input was heard, another thread has appended, the process is to stop, or after `seconds`."""
        appended = self._appender.next_commit
        await first_of(seconds, self._watch.any, self._watch.gap, appended, self._replica.draining)
        if not self._watch.any.is_set() and not appended.is_set():
            self.forget()

    async def renudge(self) -> None:
        """Rule 11: an input that another replica NAKed during our claim would wait for its delay. Nudge for it."""
        await asyncio.sleep(RENUDGE_DELAY_S)
        if not self._watch.any.is_set():
            return
        key = self._appender.key
        try:
            last = await self._bus.log.head(key)
            if last and last.seq == self._appender.last.seq and await self.pending():
                await self._bus.inbox.put(key, Nudge(id=new_id("ndg")))
        except BusError as exc:
            log.info("renudge.failed", session=key.session, code=exc.code)

    async def close(self) -> None:
        """Stop listening to arrivals, and drop the requests whose response nobody will read."""
        for thread in list(self.requests):
            await self.requests.pop(thread).drop()
        if not self._watch_left:
            await self._watch.close()

    def leave_watch(self) -> InboxWatch:
        """After the release: leave the watch to the caller, who closes it."""
        self._watch_left = True
        self._watch.rest(self._appender.taken)
        return self._watch


async def first_of(seconds: float, *events: asyncio.Event) -> None:
    """Return when one of the events is set, or after `seconds`."""
    tasks = [asyncio.create_task(e.wait()) for e in events]
    try:
        await asyncio.wait(tasks, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
