"""The owner of a session: one loop that takes inputs, decides, does, appends (rules 5 to 11).

All it knows comes from the log; whatever it does is an append that the log refuses if anything moved. It may be killed
between any two lines.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
from msgspec import UNSET
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.commits import InboxPosition, Stored, commit
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.head import Claim, Head, advance
from holdfast.bus.ids import Key, new_id
from holdfast.bus.inputs import CallResult, Nudge, PendingInput
from holdfast.harness.conversation import prompt
from holdfast.harness.conversation.context import ASK_SUMMARY, UNFIT, Contexts
from holdfast.harness.conversation.truncate import shortened
from holdfast.harness.models import Model, ModelFailure, Request, Response
from holdfast.harness.models.call import CallOutcome, ModelCall
from holdfast.harness.models.sanitize import sanitize
from holdfast.harness.models.to_events import to_events
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.tools.catalog import offered
from holdfast.harness.tools.hand_client import HandClient
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn import decide as step
from holdfast.harness.turn import idle as rest
from holdfast.harness.turn import ingest, retry
from holdfast.harness.turn.inbox_watch import InboxWatch, contiguous_from, interrupts
from holdfast.process.faults import point

log = structlog.get_logger()

PATIENCE = 0.6
"""Part of the drain time for which an answer in the making is waited for; the rest is for handing over."""

MOMENT = 0.05
"""Seconds after a release in which another owner may take what has just come in."""

SHARES = (1.0, 0.4, 0.1, 0.02)
"""Parts of its size to which a conversation is cut, one after the other, when it is too long to be summarised."""

INBOX_LOOK_INTERVAL_S = 15.0
"""Seconds after which a wait for the model looks into the inbox, in case an arrival was not heard."""

CATCH_UP = 20
"""Reads at the leader before a log that moved but does not show how counts as unavailable."""


class Fenced(Exception):
    """Another claim has the session; this owner stops without an ack or a NAK."""


class HandOver(Exception):
    """The process is stopping; another replica goes on."""


class _Moved(Exception):
    """Something else was appended, the claim is still mine: decide again (rule 7)."""


class TurnRunner:
    """Drives one session under one claim."""

    def __init__(
        self,
        bus: Bus,
        model: Model,
        settings: HarnessSettings,
        *,
        key: Key,
        inbox: str,
        claim: Claim,
        config: ev.SessionConfig,
        last: Stored,
        contexts: Contexts,
        arrivals: InboxWatch,
        span: ev.ModelRequestStart | None,
        looked: bool,
        name: str,
        now: Callable[[], int],
        draining: asyncio.Event,
    ) -> None:
        self._bus = bus
        self._model = model
        self._settings = settings
        self._key = key
        self._inbox = inbox
        self._claim = claim
        self._config = config
        self._last = last
        self._begun = span
        self._name = name
        self._now = now
        self._draining = draining
        self._contexts = contexts
        self._arrivals = arrivals
        self._looked = looked
        """The inbox was looked at, and what came since was heard as an arrival."""
        self._calls = ToolCalls(HandClient(bus, key), hold=settings.hold)
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def _head(self) -> Head:
        return self._last.commit.head

    # --- what deliveries of the same process ask ---

    async def has_taken(self, seq: int) -> bool:
        """Wait until this owner has taken that input and owes it nothing more; False when it ended before."""
        while True:
            head = self._head
            if seq <= head.taken_in(self._inbox) and not (head.claim and head.claim.trigger == seq):
                return True
            if self._closed:
                return False
            await self._changed.wait()

    def leave(self) -> None:
        """From now on the session is nobody's, or another's: who waits for this owner goes on."""
        self._closed = True
        self._changed.set()

    async def close(self) -> None:
        """Forget the session."""
        self.leave()
        await self._arrivals.close()

    async def look_once_more(self) -> None:
        """Rule 11, for speed only: what another replica put back while the session was held here is not waited for.

        What came after the release is delivered as ever, so whoever has it is given a moment to claim the session.
        """
        await asyncio.sleep(MOMENT)
        if not self._arrivals.any.is_set():
            return
        try:
            last = await self._bus.log.head(self._key)
            if last and last.seq == self._last.seq and await self._bus.inbox.pending(self._key, self._taken()):
                await self._bus.inbox.put(self._key, Nudge(id=new_id("ndg")))
        except BusError as exc:
            log.info("could not look once more", session=self._key.session, code=exc.code)

    # --- the loop ---

    async def run(self) -> None:
        """Drive until the claim is released. Raises Fenced, HandOver, Unavailable."""
        while True:
            try:
                await self._take()
                if await self._step():
                    break
            except _Moved:
                self._begun, self._looked = None, False
        await self._snapshot(self._settings.snapshot_every)

    # --- appending ---

    def _taken(self) -> int:
        return self._head.taken_in(self._inbox)

    async def _append(
        self,
        events: Sequence[ev.Event],
        *,
        release: bool = False,
        taken: InboxPosition | None = None,
        progress: bool = False,
        span: str = "",
    ) -> None:
        """Rules 6, 7 and 9. Raises _Moved when the log had moved on under the same claim, Fenced under another.

        Events that end the model request `span` stay right as long as it is open: when only the session service has
        appended meanwhile (a new title, say), they are committed anew instead of asking the model again.
        """
        if release and self._taken() < self._claim.trigger:
            taken = InboxPosition(self._inbox, self._claim.trigger)
        if progress and self._claim.failures:
            self._claim = replace(self._claim, failures=0)
        while True:
            claim = None if release else (self._claim if self._claim != self._head.claim else UNSET)
            made = commit(self._last, events, by=self._name, new_id=new_id, now=self._now(), claim=claim, taken=taken)
            try:
                seq = await self._bus.log.append(self._key, made, self._last.seq)
            except Conflict:
                await self._catch_up()
                if not span or self._head.primary.request != span:
                    raise _Moved from None
            else:
                self._fold(Stored(seq, made))
                return

    def _fold(self, stored: Stored) -> None:
        self._contexts.fold(stored)
        self._config = self._contexts.config or self._config
        self._last = stored
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _catch_up(self) -> None:
        before = self._last.seq
        for attempt in range(CATCH_UP):
            for stored in await self._bus.log.read(self._key, before, leader=True):
                self._fold(stored)
            if self._last.seq > before:
                break
            await asyncio.sleep(0.05 * attempt)
        claim = self._head.claim
        if claim is None or claim.id != self._claim.id:
            raise Fenced
        self._claim = claim

    # --- steps ---

    async def _take(self) -> None:
        """Rule 5: append what waits above `taken`.

        Without an arrival since the last look nothing is looked for, nor when what arrived is known to be all.
        """
        behind = self._taken() < self._claim.trigger
        if self._looked and not behind and not self._arrivals.any.is_set():
            return
        heard = self._arrivals.clear()
        waiting = contiguous_from(heard, self._taken()) if self._looked and not behind else None
        if waiting is None:
            upto = self._claim.trigger if behind else 0
            waiting = await self._bus.inbox.pending(self._key, self._taken(), upto=upto)
        left = not behind and ingest.may_wait(self._head, waiting)
        self._looked = not left
        if not waiting or left:
            return
        took = ingest.ingest(self._head, self._config, waiting)
        span = self._begin(advance(self._head, took.events, self._now()), waiting)
        events = [*took.events, span] if span else took.events
        await self._append(events, taken=InboxPosition(self._inbox, took.seq, took.ids), progress=took.progress)
        self._begun = span or self._begun
        if took.progress:
            point("harness.result_taken")

    def _begin(self, after: Head, waiting: list[PendingInput]) -> ev.ModelRequestStart | None:
        """The start of the model request that follows at once: it goes into the commit that leads to it."""
        if self._begun or self._draining.is_set():
            return None
        fresh = self._contexts.threads[""].fresh + sum(len(w.data) for w in waiting)
        return begin(after, now=self._now(), fresh=fresh, limits=self._settings.limits())

    async def _step(self) -> bool:  # noqa: C901, PLR0911  one case a step
        """Decide and do; True when the claim was released."""
        span, self._begun = self._begun, None
        if span and self._head.primary.request == span.id and not self._head.primary.interrupted:
            return await self._call_model(span)
        fresh = self._contexts.threads[""].fresh // 4
        what = step.decide(self._head, now=self._now(), fresh_tokens=fresh, limits=self._settings.limits())
        if self._draining.is_set() and not isinstance(what, step.Release | step.RunTools):
            raise HandOver
        match what:
            case step.Release():
                return await self._rest(what)
            case step.Interrupt():
                return await self._interrupted()
            case step.Abandon():
                await self._append(rest.close_request(self._head, stop="abandoned"))
            case step.RunTools():
                return await self._run_tools()
            case step.Resume():
                await self._append(ingest.running(self._config))
            case step.Sleep(until=until):
                await self._wait(min((until - self._now()) / 1e6, INBOX_LOOK_INTERVAL_S))
            case step.Compact():
                return await self._compact()
            case step.CallModel():
                return await self._call_model()
        return False

    async def _rest(self, what: step.Release) -> bool:
        events = rest.idle(self._head, self._config, what.stop, now=self._now(), error=what.error) if what.stop else []
        point("harness.before_release")
        await self._append(events, release=True)
        return True

    async def _idle(self, events: list[ev.Event], *, progress: bool = False) -> bool:
        """Append events that end in idle, and let go in the same commit when nothing is left to do."""
        after = advance(self._head, events, self._now())
        waiting = await self._bus.inbox.pending(self._key, self._taken())
        release = not waiting and not after.primary.todo and not after.calls
        await self._append(events, release=release, progress=progress)
        return release

    async def _wait(self, seconds: float) -> None:
        """Until an input arrives, the process is to stop, or the time is over; then the inbox is looked at."""
        await first(seconds, self._arrivals.any, self._draining)
        self._looked = self._looked and self._arrivals.any.is_set()

    # --- tools ---

    async def _run_tools(self) -> bool:
        head = self._head
        ready = [c for c in head.calls if c.state == "ready"]
        if any(not c.generation for c in ready):
            await self._append(await self._calls.provide(head, self._config))
            return False
        events = await self._calls.send(head, ready, self._contexts.threads[""])
        if events and await self._result_waits():
            return False  # what was stored before its worker died is not lost
        if events:
            await self._append(events, progress=True)
            return False
        point("harness.dispatched")
        if self._calls.all_accepted(ready):
            if self._draining.is_set() or self._calls.held_long_enough():
                await self._append([], release=True)
                return True
        elif self._draining.is_set():
            raise HandOver
        await self._wait(self._calls.pause(ready))
        return False

    async def _result_waits(self) -> bool:
        """Whether the result of an open call lies in the inbox; then it is taken next."""
        opened = {c.id for c in self._head.calls}
        waiting = await self._bus.inbox.pending(self._key, self._taken())
        found = any(isinstance(w.input, CallResult) and w.input.id in opened for w in waiting)
        self._looked = self._looked and not found
        return found

    async def _interrupted(self) -> bool:
        """Rule 18: first the workers refuse the calls for ever, then they are closed."""
        await self._calls.cancel_all(self._head)
        stop = ev.StopReason("end_turn")
        return await self._idle(rest.idle(self._head, self._config, stop, now=self._now(), close=True))

    # --- the model ---

    def _request(self, *, summary: bool = False, share: float = 1.0) -> Request:
        """`share`: part of its size that the conversation is cut to."""
        agent = self._config.agent
        messages = self._contexts.threads[""].messages()
        if share < 1:
            messages = shortened(messages, share)
        if summary:
            ask: ev.Block = {"type": "text", "text": ASK_SUMMARY}
            messages[-1] = {**messages[-1], "content": [*messages[-1]["content"], ask]}
        return Request(
            model=agent["model"],
            system=prompt.system(self._config),
            messages=messages,
            tools=offered(agent),
            max_tokens=self._settings.max_tokens,
            may_call=not summary,
        )

    async def _ask(self, request: Request, span: str, *, quiet: bool = False) -> CallOutcome:
        foresee = partial(self._calls.foresee, self._head)
        ask = ModelCall(self._bus, self._key, self._model, request, span=span, quiet=quiet, on_call=foresee)
        due = self._snapshot(self._settings.snapshot_every * 5)
        patience = self._settings.drain_timeout * PATIENCE
        waited = self._head.primary.status == "rescheduling"
        on_begin = partial(self._runs_again, span) if waited else None
        asking = ask.run(self._arrivals.interrupt, self._waits_interrupt, self._draining, patience, on_begin)
        _, asked = await asyncio.gather(due, asking)
        if asked.handed_over:
            raise HandOver
        if asked.answer is not None:
            await self._runs_again(span)
        return asked

    async def _runs_again(self, span: str) -> None:
        """Show that a session that was rescheduled runs: the model begins to answer."""
        if self._head.primary.status == "rescheduling":
            await self._append(ingest.running(self._config), span=span)

    async def _waits_interrupt(self) -> bool:
        """Whether an interrupt lies in the inbox: arrivals are heard at most once, so it is looked for as well."""
        try:
            found = any(interrupts(w) for w in await self._bus.inbox.pending(self._key, self._taken()))
        except BusError:
            return False  # the answer of the model is worth waiting for; the next look may succeed
        if found:
            self._looked = False
        return found

    async def _call_model(self, span: ev.ModelRequestStart | None = None) -> bool:
        """`span`: its start, when that is in the log already."""
        if span is None:
            span = ev.ModelRequestStart(id=new_id("sevt"))
            await self._append([span])
        point("harness.before_model")
        asked = await self._ask(self._request(), span.id)
        if asked.failure is not None:
            return await self._model_failed(asked.failure, span.id)
        if asked.answer is None:
            await self._append(self._partial(asked, span.id), span=span.id)
            return False
        events = to_events(asked.answer, agent=self._config.agent, request=span.id, ids=asked.ids)
        if asked.answer.stop == "refusal":
            return await self._refused(events, asked.answer)
        if any(isinstance(e, ev.AgentToolUse) and e.evaluated_permission == "allow" for e in events):
            events = [*await self._calls.gone(self._head), *events]
        await self._append(events, progress=True, span=span.id)
        point("harness.answered")
        return False

    def _partial(self, asked: CallOutcome, span: str) -> list[ev.Event]:
        """What was shown before an interrupt stays said."""
        events: list[ev.Event] = []
        for index, text in sorted(asked.texts.items()):
            if (shown := sanitize(text)).strip():
                block = {"type": "text", "text": shown}
                events.append(ev.AgentMessage(id=asked.ids[index], request=span, content=[block]))
        end = ev.ModelRequestEnd(
            id=new_id("sevt"), model_request_start_id=span, model_usage=asked.usage, stop="interrupted"
        )
        return [*events, end]

    async def _refused(self, events: list[ev.Event], answer: Response) -> bool:
        known: dict[str, Any] = answer.details or {}
        details = {"type": "refusal", "category": known.get("category"), "explanation": known.get("explanation")}
        after = advance(self._head, events, self._now())
        stop = ev.StopReason("refusal")
        events += rest.idle(after, self._config, stop, now=self._now(), details=details)
        return await self._idle(events, progress=True)

    async def _compact(self, shares: tuple[float, ...] = SHARES) -> bool:
        """Summarise. What is too long even for that is summarised from its parts, cut to the next of `shares`."""
        span = ev.ModelRequestStart(id=new_id("sevt"), purpose="compaction")
        request = self._request(summary=True, share=shares[0])
        await self._append([span])
        asked = await self._ask(request, span.id, quiet=True)
        if asked.failure is not None:
            if asked.failure.too_long and shares[1:]:
                await self._append(rest.close_request(self._head, stop="failed"))
                return await self._compact(shares[1:])
            return await self._model_failed(replace_too_long(asked.failure), span.id)
        if asked.answer is None:
            await self._append([self._partial(asked, span.id)[-1]], span=span.id)
            return False
        summary = sanitize("\n".join(b["text"] for b in asked.answer.blocks if b.get("type") == "text")).strip()
        if not summary:
            failure = ModelFailure("model_request_failed_error", "The summary came back empty.", retryable=True)
            return await self._model_failed(failure, span.id)
        end = ev.ModelRequestEnd(
            id=new_id("sevt"), model_request_start_id=span.id, model_usage=asked.answer.usage, stop="compaction"
        )
        compacted = ev.AgentContextCompacted(id=new_id("sevt"), summary=summary)
        await self._append([end, compacted], progress=True, span=span.id)
        return False

    async def _model_failed(self, failure: ModelFailure, span: str) -> bool:
        """Retry later, compact, or give the turn up; each is told in the log."""
        state = self._head.primary
        ended: Sequence[ev.Event] = rest.close_request(self._head, stop="failed")
        if failure.too_long and state.compactions < self._settings.limits().compactions:
            await self._append(ended)
            return await self._compact()
        if failure.refused and self._contexts.threads[""].attachments:
            told = f"{str(failure).rstrip('.')}. It is asked again without pictures and documents."
            error = step.error(failure.kind, told, "retrying")
            ended = rest.close_request(self._head, stop=UNFIT)
            await self._append([*ended, ev.SessionError(id=new_id("sevt"), error=error)])
            return False
        again = retry.plan(
            state,
            failure,
            self._settings.retries(),
            now=self._now(),
            jitter=random.uniform(0.75, 1.0),  # noqa: S311  not a secret
        )
        if again is None:
            error = retry.given_up(state, failure, now=self._now())
            after = advance(self._head, ended, self._now())
            stop = ev.StopReason("retries_exhausted")
            return await self._idle([*ended, *rest.idle(after, self._config, stop, now=self._now(), error=error)])
        log.info("model request failed", session=self._key.session, span=span, cause=again.error["message"])
        await self._append(rest.rescheduled(self._head, self._config, again), progress=True)
        return False

    # --- snapshots ---

    async def _snapshot(self, every: int) -> None:
        """Write the context if it has grown by `every` events; losing one costs only reading."""
        if self._contexts.count - self._contexts.snapshot_count < every:
            return
        try:
            await self._bus.kv.put("snap", subjects.snapshot_key(self._key), self._contexts.snapshot())
        except BusError as exc:
            log.info("no snapshot", session=self._key.session, code=exc.code)
        self._contexts.snapshot_count = self._contexts.count


def begin(after: Head, *, now: int, fresh: int, limits: step.Limits) -> ev.ModelRequestStart | None:
    """The start of a model request, if that is the step that follows from this head; `fresh` in characters."""
    what = step.decide(after, now=now, fresh_tokens=fresh // 4, limits=limits)
    return ev.ModelRequestStart(id=new_id("sevt")) if isinstance(what, step.CallModel) else None


def replace_too_long(failure: ModelFailure) -> ModelFailure:
    """A summary that does not fit either cannot be helped by another summary."""
    return ModelFailure(
        failure.kind,
        str(failure),
        retryable=failure.retryable,
        outage=failure.outage,
        retry_after=failure.retry_after,
        refused=failure.refused,
    )


async def first(seconds: float, *events: asyncio.Event) -> None:
    """Return when one of the events is set, or after `seconds`."""
    tasks = [asyncio.create_task(e.wait()) for e in events]
    try:
        await asyncio.wait(tasks, timeout=max(seconds, 0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
