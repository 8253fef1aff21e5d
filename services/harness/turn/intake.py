"""Moves inputs of a claimed session from its inbox into its log (rules 5, 8 and 11)."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import InboxPosition
from holdfast.bus.errors import BusError
from holdfast.bus.head import Head
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult, Nudge, PendingInput, Taken, taken_after
from holdfast.harness.turn.appender import Appender, ThreadRun
from holdfast.harness.turn.decide import request_start
from holdfast.harness.turn.inbox_watch import InboxWatch, contiguous_from, interrupts
from holdfast.harness.turn.ingest import answered_results, before_newer, ingest, is_tool_running, may_wait
from holdfast.harness.turn.replica import Replica
from holdfast.process.faults import point

RENUDGE_DELAY_S: Final = 0.05
"""Time after a release in which a delivery may claim the session before `renudge` looks at it."""

log = structlog.get_logger()


class Intake:
    """The inbox of one claimed session: what was heard of it, what was read, what was taken."""

    def __init__(
        self, replica: Replica, appender: Appender, thread: ThreadRun, watch: InboxWatch, *, inbox_known: bool
    ) -> None:
        self._bus = replica.bus
        self._now = replica.now
        self._limits = replica.limits
        self._draining = replica.draining
        self._appender = appender
        self._thread = thread
        """The thread whose model request may start in the commit that takes inputs."""
        self._watch = watch
        self._known: Taken | None = appender.taken if inbox_known else None
        """The inputs up to here were read or heard; those above `taken` were left to wait. None: read the inbox."""
        self._started: ev.ModelRequestStart | None = None
        """The model request that `append_results` has started and `take` has not returned yet."""
        watch.expect_from(self._known)

    @property
    def interrupt(self) -> asyncio.Event:
        """Set when an interrupt was heard that is not taken yet."""
        return self._watch.interrupt

    @property
    def any(self) -> asyncio.Event:
        """Set when an input was heard since the last `take`."""
        return self._watch.any

    @property
    def gap(self) -> asyncio.Event:
        """Set when an input may have been stored whose arrival was not heard."""
        return self._watch.gap

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

    async def take(self, request: ev.ModelRequestStart | None) -> ev.ModelRequestStart | None:
        """Rule 5: append what waits above `taken`.

        The inbox is not read if nothing was heard since it was known, or if what was heard is contiguous. `request` is
        the model request that has been started and not sent. Returns it, or the one that is started by this commit.
        """
        started, self._started = self._started, None
        request = request or started
        inputs = await self._inputs()
        if not inputs:
            return request
        appender = self._appender
        ingested = ingest(appender.head, appender.config, inputs, appender.taken, new_id=new_id)
        started = None
        if request is None:
            size = sum(len(p.data) for p in inputs)
            started = self._request_start(appender.head_after(ingested.events), size)
        events = [*ingested.events, started] if started else ingested.events
        position = InboxPosition(appender.inbox, ingested.taken, ingested.ids)
        await appender.append(events, taken=position, progress=ingested.progress)
        if ingested.progress:
            point("harness.result_appended")
        return started or request

    async def append_results(self, results: Sequence[CallResult]) -> None:
        """Append the results that came in answers, and the start of the model request if that follows (rule 13).

        Inputs that wait are taken before a model request is started.
        """
        events = answered_results(self._appender.head, results, new_id=new_id)
        started = None
        if self._known == self._appender.taken and not self._watch.any.is_set() and not self._watch.gap.is_set():
            size = sum(len(str(result.content)) for result in results)
            started = self._request_start(self._appender.head_after(events), size)
        point("harness.result_answered")
        await self._appender.append([*events, started] if started else events, progress=bool(events))
        self._started = started
        point("harness.result_appended")

    async def _inputs(self) -> Sequence[PendingInput]:
        """The inputs to take now.

        While a tool runs messages are left in the inbox. Those that were left are not read again for each further
        message: 10,000 of them would be read 10,000 times.
        """
        appender, watch = self._appender, self._watch
        behind = appender.behind_trigger
        left = self._known is not None and self._known != appender.taken
        may_stay = self._known is not None and (not left or is_tool_running(appender.head))
        if may_stay and not (behind or watch.any.is_set() or watch.gap.is_set()):
            return ()
        known = None if behind or watch.gap.is_set() else self._known
        heard = watch.clear()
        inputs = contiguous_from(heard, known) if known is not None and heard is not None else None
        if known is not None and inputs is not None and left:
            if is_tool_running(appender.head) and (not inputs or may_wait(appender.head, inputs)):
                self._know(taken_after(known, inputs))
                return ()
            inputs = None
        if inputs is None:
            inputs = await self.pending(upto=appender.claim.trigger if behind else 0)
        self._know(taken_after(appender.taken, inputs))
        return () if not behind and may_wait(appender.head, inputs) else inputs

    def _request_start(self, after: Head, size: int) -> ev.ModelRequestStart | None:
        """The start of the model request if that is the step after inputs of that size, for the same commit."""
        if self._draining.is_set():
            return None
        return request_start(
            after,
            now=self._now(),
            fresh_chars=self._thread.context.fresh + size,
            limits=self._limits(self._appender.config),
            thread=self._thread.id,
            new_id=new_id,
        )

    async def interrupt_waits(self) -> bool:
        """Read the inbox: True if an interrupt is in it. The watch is best effort and may have missed it."""
        if self._watch.gap.is_set():
            self._watch.gap.clear()
            self.forget()
        try:
            found = any(interrupts(p) for p in await self.pending())
        except BusError:
            return False  # the response is worth waiting for; the next read may succeed
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
        """Return when an input was heard, the process is to stop, or the time is over; then the inbox is read."""
        await first_of(seconds, self._watch.any, self._watch.gap, self._draining)
        if not self._watch.any.is_set():
            self.forget()

    async def append_idle(self, events: Sequence[ev.Event], *, progress: bool = False) -> bool:
        """Append events that end in idle. True if the commit also released the claim: nothing is left (rule 8)."""
        after = self._appender.head_after(events)
        pending = await self.pending()
        if pending:
            self.forget()  # none of them may have been heard
        release = not pending and not after.thread(self._thread.id).todo and not after.calls
        await self._appender.append(events, release=release, progress=progress)
        return release

    async def renudge(self) -> None:
        """Rule 11, for latency only: an input that another replica NAKed during our claim would wait for its delay.

        If nobody has claimed the session RENUDGE_DELAY_S after the release and something waits, store a nudge.
        """
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
        """Stop listening to arrivals."""
        await self._watch.close()


async def first_of(seconds: float, *events: asyncio.Event) -> None:
    """Return when one of the events is set, or after `seconds`."""
    tasks = [asyncio.create_task(e.wait()) for e in events]
    try:
        await asyncio.wait(tasks, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
