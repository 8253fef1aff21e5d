"""Moves inputs of a claimed session from its inbox into its log (rules 5, 8 and 11)."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import InboxPosition
from holdfast.bus.errors import BusError
from holdfast.bus.head import Head, interrupted_threads
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult, Nudge, PendingInput
from holdfast.harness.turn.appender import Appender, Draft
from holdfast.harness.turn.inbox_batches import batches, readable
from holdfast.harness.turn.inbox_watch import InboxWatch, interrupts
from holdfast.harness.turn.ingest import (
    addressed,
    answered_results,
    ingest,
    leaves_to_wait,
)
from holdfast.harness.turn.known_inputs import KnownInputs
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
        self._watch_left = False
        watch.wake()
        self._known = KnownInputs(self._bus.inbox, appender, watch, self.asking, known=inbox_known)

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

    @property
    def nothing_waits(self) -> bool:
        """True if everything that was stored is known and taken, as far as one can tell without reading."""
        return self._known.nothing_waits and not self._appender.behind_trigger

    def begin_asking(self, thread: str) -> None:
        """The thread's model request goes out. An interrupt that is heard from now on, or was not taken, ends it."""
        self._watch.forget_taken(self._appender.taken, self.asking)
        self.asking.add(thread)

    def end_asking(self, thread: str) -> None:
        """The thread's model request has ended."""
        self.asking.discard(thread)

    def forget(self) -> None:
        """Read the inbox at the next `take`."""
        self._known.forget()

    async def waits(self, wanted: Callable[[PendingInput], bool] = lambda _: True) -> bool:
        """Read the inbox: True if an input waits above `taken` for which `wanted` is true."""
        async with aclosing(readable(self._bus.inbox, self._appender.key, self._appender.taken)) as inputs:
            async for pending in inputs:
                if wanted(pending):
                    return True
        return False

    async def take(self, may_start: Callable[[str], bool]) -> None:
        """Rule 5: append what waits above `taken`. Raises HeadMoved, Fenced, Newer, Unavailable.

        The inbox is not read if nothing was heard since it was known, or if what was heard is contiguous. If the next
        step of a thread for which `may_start` is true is a model request, the last commit starts it, in `requests`.
        """
        async with self._taking:
            try:
                heard = self._known.heard()
                if heard:
                    await self._append(heard, may_start)
                elif heard is None and not await self._known.all_stays():
                    await self._take_all(may_start)
            except BaseException:
                self.forget()  # what was read is not in the log: another thread's take must not go on behind it
                raise

    async def append_results(self, results: Sequence[CallResult], thread: str) -> None:
        """Append results of the thread's calls that came in answers, and the start of the model request that follows.

        Rule 13. Inputs that wait are taken before a model request is started. Raises HeadMoved if none of the calls is
        open any more.
        """
        appender = self._appender
        ids = {result.id for result in results}
        size = sum(len(str(result.content)) for result in results)

        def make(head: Head) -> Draft:
            events = answered_results(head, results, new_id=new_id)
            nothing_waits = self._known.nothing_waits
            starts = self._start_requests(beside, events, size, lambda name: nothing_waits and name == thread)
            return Draft(events=[*events, *starts], progress=True)

        async with self._taking:
            point("harness.result_answered")
            async with RequestsBeside(self._replica) as beside:
                await appender.append(make, valid=lambda head: any(c.id in ids for c in head.calls))
            self.requests.update(beside.requests)
        point("harness.result_appended")

    async def _take_all(self, may_start: Callable[[str], bool]) -> None:
        """Read the inbox and append what waits, in commits of bounded size. Only the last starts model requests."""
        appender = self._appender
        upto = appender.claim.trigger if appender.behind_trigger else 0
        forgets, limit = self._known.begin_read(), self._replica.batch_bytes
        found = batches(self._bus.inbox, appender.key, appender.taken, upto=upto, limit_bytes=limit)
        async with aclosing(found):
            async for batch in found:
                if batch.inputs:
                    await self._append(batch.inputs, may_start if batch.is_last else lambda _: False)
                    point("harness.batch_taken")
        self._known.end_read(forgets)

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
        head = self._appender.head
        try:
            found = await self.waits(lambda p: any(thread in interrupted_threads(head, e) for e in interrupts(p)))
        except BusError:
            return False  # the response is worth waiting for; the next read may succeed
        if found:
            self.forget()
        return found

    async def result_waits(self) -> bool:
        """Read the inbox: True if the result of an open call is in it. It is taken next."""
        open_calls = {c.id for c in self._appender.head.calls}
        found = await self.waits(lambda p: isinstance(p.input, CallResult) and p.input.id in open_calls)
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
            if last and last.seq == self._appender.last.seq and await self.waits():
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
