"""Model requests of one thread: a response, a compaction, and what follows from a failure.

Methods return True if their last commit released the claim.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import structlog
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus import status
from holdfast.bus.ids import new_id
from holdfast.harness.conversation.context import ATTACHMENTS_REJECTED, SUMMARY_PROMPT
from holdfast.harness.conversation.items import size_of
from holdfast.harness.conversation.snapshot import save_contexts
from holdfast.harness.conversation.truncate import truncate_messages
from holdfast.harness.models.call import CallOutcome, CallSignals, ModelCall
from holdfast.harness.models.interface import ModelFailure, Piece, Request, Response
from holdfast.harness.models.to_events import ResponseEvents, refusal_details, summary_text
from holdfast.harness.tools.tool_calls import ToolCalls
from holdfast.harness.turn import decide, idle, retry
from holdfast.harness.turn.appender import Appender, ThreadRun
from holdfast.harness.turn.intake import Intake
from holdfast.harness.turn.replica import HandOver, Replica
from holdfast.harness.turn.rest import Rest
from holdfast.harness.turn.started_request import StartedRequest, model_request
from holdfast.process.faults import point

DRAIN_RESPONSE_FRACTION: Final = 0.6
"""Fraction of `drain_timeout` to wait for an in-flight model response before handing over."""

SUMMARY_FRACTIONS: Final = (1.0, 0.4, 0.1, 0.02)
"""Fractions of the conversation to keep, tried in turn while the summary request still overflows the context."""

CHARS_PER_TOKEN_LIMIT: Final = 16
"""Characters that a token may have at most on average."""

REQUEST_CHARS: Final = 32 * 1024 * 1024
"""Size of a request, attachments included, above which the Messages API refuses it (413 `request_too_large`)."""

SNAPSHOT_BEFORE_REQUEST_FACTOR: Final = 5
"""In mid-turn a snapshot is written after `snapshot_every` events times this factor, beside a model request."""

log = structlog.get_logger()


def promising_fractions(size: float) -> tuple[float, ...]:
    """Those of SUMMARY_FRACTIONS with which a conversation may fit that is `size` times what fits; at least the last.

    A summary request that cannot fit is not made: it would be refused, and takes several times its size in memory.
    """
    return tuple(f for f in SUMMARY_FRACTIONS if size * f <= 1) or SUMMARY_FRACTIONS[-1:]


class ModelTurn:
    """Asks the model on behalf of one thread and appends what comes of it."""

    def __init__(
        self,
        replica: Replica,
        appender: Appender,
        thread: ThreadRun,
        intake: Intake,
        *,
        calls: ToolCalls,
        rest: Rest,
    ) -> None:
        self._replica = replica
        self._settings = replica.settings
        self._appender = appender
        self._thread = thread
        self._intake = intake
        self._rest = rest
        self._calls = calls
        self._item_count = 0
        """Items of the context when the last request was made."""

    async def respond(self, started: StartedRequest | None = None) -> bool:
        """Ask for the next response. `started`: the request if it was sent beside the append of its start."""
        if started is None:
            start = self._start()
            await self._thread.append([start])
            started = StartedRequest(self._replica, start, self._appender.config, self._thread.context)
        start, self._item_count = started.start, started.item_count
        try:
            outcome = await self._call(started.pieces(), start)
        finally:
            await started.close()
        if outcome.failure is not None:
            return await self._failed(outcome.failure, start)
        made = ResponseEvents(request=start.id, ids=outcome.ids, thread=self._thread.id, new_id=new_id)
        response = outcome.response
        if response is None:
            events = made.interrupted(outcome.texts, outcome.usage)
            await self._thread.append(lambda _: self._with_missed(events), request=start)
            return False
        events = made.response(response, self._appender.config.agent)
        if response.stop == "refusal":
            return await self._refused(events, response, start)
        if any(isinstance(e, ev.AgentToolUse) and e.evaluated_permission == "allow" for e in events):
            events = [*await self._calls.lost_at_rest(self._appender.head), *events]
        released = await self._rest.append_response(lambda _: self._with_missed(events), start)
        point("harness.response_appended")
        return released

    def _missed(self) -> list[str]:
        """Ids of the thread's messages that were taken since the last request was made."""
        return [i.id for i in self._thread.context.items[self._item_count :] if i.kind == "user"]

    def _with_missed(self, events: list[ev.Event]) -> list[ev.Event]:
        """The events of a response. Their request's end names the messages that it does not answer."""
        missed = self._missed()
        if not missed:
            return events
        return [replace(e, missed=missed) if isinstance(e, ev.ModelRequestEnd) else e for e in events]

    async def compact(self, fractions: tuple[float, ...] = ()) -> bool:
        """Replace the history by a summary. If even the summary request overflows, try the next of `fractions`.

        Without `fractions`: those of SUMMARY_FRACTIONS whose request may fit.
        """
        fractions = fractions or self._fractions()
        start = self._start(purpose="compaction")
        request = self._summary_request(fractions[0])
        await self._thread.append([start])
        outcome = await self._call(self._replica.model.stream(request), start, quiet=True)
        if outcome.failure is not None:
            if outcome.failure.context_overflow and fractions[1:]:
                await self._thread.append(self._request_failed(), request=start)
                return await self.compact(fractions[1:])
            return await self._failed(outcome.failure, start, may_compact=False)
        made = ResponseEvents(request=start.id, ids=outcome.ids, thread=self._thread.id, new_id=new_id)
        if outcome.response is None:
            await self._thread.append([made.end(outcome.usage, "interrupted")], request=start)
            return False
        if outcome.response.stop == ev.CONTEXT_FULL_STOP and fractions[1:]:
            await self._thread.append([made.end(outcome.response.usage, "compaction")], request=start)
            return await self.compact(fractions[1:])
        summary = summary_text(outcome.response)
        if not summary:
            failure = ModelFailure("model_request_failed_error", "The summary came back empty.", retryable=True)
            return await self._failed(failure, start)
        compacted = ev.AgentContextCompacted(id=new_id("sevt"), thread=self._thread.id, summary=summary)
        end = made.end(outcome.response.usage, "compaction")
        await self._thread.append([end, compacted], progress=True, request=start)
        return False

    def _fractions(self) -> tuple[float, ...]:
        items = self._thread.context.items
        window_chars = self._replica.facts(self._appender.config).context_window * CHARS_PER_TOKEN_LIMIT
        share = max(sum(size_of(i.blocks) for i in items) / window_chars, sum(i.size for i in items) / REQUEST_CHARS)
        return promising_fractions(share)

    def _start(self, **fields: Any) -> ev.ModelRequestStart:
        return ev.ModelRequestStart(id=new_id("sevt"), thread=self._thread.id, **fields)

    def _summary_request(self, fraction: float) -> Request:
        """A request for a summary of the conversation, truncated to that fraction of its size."""
        self._item_count = len(self._thread.context.items)
        request = model_request(self._replica, self._appender.config, self._thread.context)
        messages = request.messages if fraction >= 1 else truncate_messages(request.messages, fraction)
        block: ev.Block = {"type": "text", "text": SUMMARY_PROMPT}
        messages[-1] = {**messages[-1], "content": [*messages[-1]["content"], block]}
        return replace(request, messages=messages, may_call_tools=False)

    async def _call(
        self, pieces: AsyncIterator[Piece], start: ev.ModelRequestStart, *, quiet: bool = False
    ) -> CallOutcome:
        """Read the response; beside it write a snapshot if one is due. Raises HandOver."""
        appender, replica = self._appender, self._replica
        rescheduled = self._thread.state.status == "rescheduling"
        signals = CallSignals(
            interrupt=self._intake.interrupt(self._thread.id),
            gap=self._intake.gap,
            interrupt_waits=partial(self._intake.interrupt_waits, self._thread.id),
            draining=replica.draining,
            drain_timeout_s=self._settings.drain_timeout * DRAIN_RESPONSE_FRACTION,
            on_tool_use=partial(self._calls.probe_ahead, appender.head),
            on_first_piece=partial(self._show_running, start) if rescheduled else None,
        )
        call = ModelCall(replica.bus, appender.key, pieces, request_id=start.id, quiet=quiet, signals=signals)
        every = self._settings.snapshot_every * SNAPSHOT_BEFORE_REQUEST_FACTOR
        saving = save_contexts(replica.bus, appender.key, appender.contexts, every=every)
        self._intake.begin_asking(self._thread.id)
        try:
            _, outcome = await asyncio.gather(saving, call.run())
        finally:
            self._intake.end_asking(self._thread.id)
        if outcome.handed_over:
            raise HandOver
        if outcome.response is not None:
            await self._show_running(start)
        return outcome

    async def _show_running(self, start: ev.ModelRequestStart) -> None:
        """Append the events that show that a rescheduled session runs again: the response has begun."""
        if self._thread.state.status == "rescheduling":
            await self._thread.append(
                lambda head: status.running(head, self._appender.config, thread=self._thread.id, new_id=new_id),
                request=start,
            )

    async def _refused(self, events: list[ev.Event], response: Response, start: ev.ModelRequestStart) -> bool:
        """Append a refusal of the model, with which the turn ends."""
        return await self._rest.append(
            ev.StopReason("refusal"),
            before=lambda _: self._with_missed(events),
            details=refusal_details(response),
            request=start,
            progress=True,
        )

    def _request_failed(self, stop: str = "failed") -> list[ev.Event]:
        """The end of the open model request."""
        return [*idle.close_request(self._appender.head, stop=stop, thread=self._thread.id, new_id=new_id)]

    async def _failed(self, failure: ModelFailure, start: ev.ModelRequestStart, *, may_compact: bool = True) -> bool:
        """Compact, leave attachments out, retry later, or end the turn. Each is an event of the log."""
        state = self._thread.state
        ended = self._request_failed()
        limits = self._replica.limits(self._appender.config)
        if may_compact and failure.context_overflow and state.compactions < limits.compactions:
            await self._thread.append(ended, request=start)
            return await self.compact()
        if failure.rejected and self._thread.context.has_attachments:
            await self._thread.append(self._attachments_rejected(failure), request=start)
            return False
        now = self._replica.now()
        chance = random.random()  # noqa: S311  not a secret
        plan = retry.plan(state, failure, self._settings.retries(), now=now, chance=chance)
        if plan is None:
            error = retry.given_up(state, failure, now=now)
            if self._missed():  # a message that the failed requests did not contain is worth another one
                await self._thread.append(ended, request=start)
                return False
            return await self._rest.append(
                ev.StopReason("retries_exhausted"), before=lambda _: ended, error=error, request=start
            )
        key = self._appender.key
        log.info("model.request_failed", session=key.session, request=start.id, cause=plan.error["message"])
        await self._thread.append(
            lambda head: idle.rescheduled(head, self._appender.config, plan, thread=self._thread.id, new_id=new_id),
            progress=True,
            request=start,
        )
        return False

    def _attachments_rejected(self, failure: ModelFailure) -> list[ev.Event]:
        """The end of a rejected request, which makes the context drop attachments, and the error that tells it."""
        text = f"{str(failure).rstrip('.')}. It is asked again without pictures and documents."
        error = decide.error(failure.kind, text, "retrying")
        told = ev.SessionError(id=new_id("sevt"), thread=self._thread.id, error=error)
        return [*self._request_failed(ATTACHMENTS_REJECTED), told]
