"""The span of a turn: it survives the harness that drives it.

Its ids follow from the input that woke the session, so a harness that takes over sends the span that the dead one could
not, with what happened. It is in the trace of the request that sent the input, and is linked to its span, which has
ended long before.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import context, trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from holdfast.bus import trace as bus_trace
from holdfast.bus.api import Delivery
from holdfast.bus.head import Claim, Head
from holdfast.bus.ids import time_of
from holdfast.process import failures, metering, metrics, spans, telemetry

log = structlog.get_logger()

OPERATION: Final = "invoke_agent"

OWNER: Final = "holdfast.harness"
STOP: Final = "holdfast.stop_reason"
TAKEOVERS: Final = "holdfast.takeovers"
DELIVERY: Final = "holdfast.delivery_count"
SEGMENT: Final = "holdfast.segment"
TAKEN_OVER: Final = "holdfast.taken_over"
"""Event of a turn that another harness has begun."""

INBOX: Final = "in.{cell}.{tenant}.{session}"
PROCESS: Final = f"process {INBOX}"

_ERROR_STOPS: Final = ("retries_exhausted",)


class TurnSpan(NonRecordingSpan):
    """The span while its turn is driven: it keeps what is set on it, and is sent by `cut` and `end`."""

    def __init__(self, delivery: Delivery, by: str) -> None:
        link = context.get_value(bus_trace.LINK)
        given = link if isinstance(link, SpanContext) and link.is_valid else None
        # Each process decides anew, from the trace id alone, so that all agree and no publisher silences us.
        self._parent = telemetry.own_decision(given, OPERATION) if given else None
        key = delivery.key
        self._parts = (key.cell, key.tenant, key.session, delivery.source, delivery.seq)
        trace_id = self._parent.trace_id if self._parent else spans.chosen_trace(*self._parts)
        root = spans.chosen(trace_id, TraceFlags(TraceFlags.SAMPLED), *self._parts)
        self._flags = (self._parent or telemetry.own_decision(root, OPERATION)).trace_flags
        super().__init__(spans.chosen(trace_id, self._flags, *self._parts))
        self._trace_id = trace_id
        self._session = key.session
        self._segment = 0
        self._began_ns = time.time_ns()
        self._attributes: dict[str, Any] = {
            "gen_ai.operation.name": OPERATION, OWNER: by, DELIVERY: delivery.count
        }  # fmt: skip
        self._events: list[tuple[str, Mapping[str, Any], int]] = []
        self._status: Status | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sent = False

    # --- what `failures` and others set on the current span ----------------------------------------------------------

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self._attributes[key] = value

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self._events.append((name, attributes or {}, timestamp or time.time_ns()))

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._status = status if isinstance(status, Status) else Status(status, description)

    # --- its life ----------------------------------------------------------------------------------------------------

    def begin(self, before: Head, claim: Claim) -> None:
        """The turn was claimed after `before`. Of another harness's turn the whole is sent, from its claim on."""
        earlier = before.claim
        began_us = time_of((earlier or claim).id)
        if began_us is not None:
            self._began_ns = max(began_us * 1000, time.time_ns() - int(spans.SEGMENT_S * 1e9))
        if earlier is not None:
            self._attributes[TAKEOVERS] = max(claim.failures, 1)
            self.add_event(TAKEN_OVER, {"holdfast.earlier_harness": earlier.by})
        self._wait()

    def _wait(self) -> None:
        left_s = spans.SEGMENT_S - (time.time_ns() - self._began_ns) / 1e9
        self._timer = asyncio.get_running_loop().call_later(max(left_s, 0.0), self.cut)

    def cut(self) -> None:
        """Send what has passed as a span of its own; the next segment is linked to it."""
        self._send(self._status, {spans.CONTINUED: True})
        self._segment += 1
        self._began_ns, self._events = time.time_ns(), []
        self._wait()

    def end_turn(self, head: Head) -> None:
        """Send the last segment, after a release that has led to `head`."""
        stop = head.stop.type if head.status == "idle" else head.status
        status = self._status
        if stop in _ERROR_STOPS and status is None:
            self._attributes[metrics.ERROR] = stop
            status = Status(StatusCode.ERROR, stop)
        self._send(status, {STOP: stop})
        self._sent = True

    def close(self) -> None:
        """The turn is over, or another harness has it, who sends its span; a fault of ours is sent as a span."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sent or self._status is None or self._status.status_code is not StatusCode.ERROR:
            return
        parts = ("process", *self._parts, time.time_ns())
        _emit(
            PROCESS,
            spans.chosen(self._trace_id, self._flags, *parts),
            parent=self._segment_context(0),
            session=self._session,
            began_ns=self._began_ns,
            ended_ns=time.time_ns(),
            attributes={
                metrics.SYSTEM: "nats", metrics.MESSAGING_OPERATION: "process", metrics.DESTINATION: INBOX,
                **self._attributes,
            },
            events=self._events,
            status=self._status,
            kind=SpanKind.CONSUMER,
        )  # fmt: skip

    def _segment_context(self, segment: int) -> SpanContext:
        parts = self._parts if not segment else (*self._parts, segment)
        return spans.chosen(self._trace_id, self._flags, *parts)

    def _send(self, status: Status | None, more: Mapping[str, Any]) -> None:
        links: list[Link] = []
        if self._parent is not None and not self._segment:
            links.append(Link(self._parent, {spans.LINK: spans.CAUSED_BY}))
        if self._segment:
            links.append(Link(self._segment_context(self._segment - 1), {spans.LINK: spans.CONTINUES}))
            more = {**more, SEGMENT: self._segment}
        _emit(
            OPERATION,
            self._segment_context(self._segment),
            parent=self._parent,
            session=self._session,
            began_ns=self._began_ns,
            ended_ns=time.time_ns(),
            attributes={**self._attributes, **more},
            links=links,
            events=self._events,
            status=status,
        )


def _emit(*args: Any, **kwargs: Any) -> None:
    """As `spans.emit`. A mistake in a span must not fail the turn that it is of."""
    try:
        spans.emit(*args, **kwargs)
    except Exception:
        metering.add(metrics.BUGS, 1, {metrics.WHERE: "span"})
        log.exception("a span could not be sent", failure=failures.BUG)


def begin_turn(before: Head, claim: Claim) -> None:
    """The turn of the current span was claimed, after `before`."""
    if isinstance(span := trace.get_current_span(), TurnSpan):
        span.begin(before, claim)


def end_turn(head: Head) -> None:
    """The turn of the current span was released; `head` is that after the release."""
    if isinstance(span := trace.get_current_span(), TurnSpan):
        span.end_turn(head)


def close_turn(before: Head, after: Head) -> None:
    """The turn of the current span was given up in the place of a dead harness, by a commit between these heads."""
    if before.claim is not None:
        begin_turn(before, before.claim)
    end_turn(after)


async def in_turn_span(handle: Callable[[Delivery], Awaitable[None]], by: str, delivery: Delivery) -> None:
    """Handle a delivery under the span of the turn that it wakes. `by` names this harness."""
    with turn_span(delivery, by):
        await handle(delivery)


@contextmanager
def turn_span(delivery: Delivery, by: str) -> Generator[TurnSpan | None]:
    """While this is open the span of the turn that the delivery wakes is the current one; None: nothing is recorded."""
    if not spans.are_recorded():
        yield None
        return
    span = TurnSpan(delivery, by)
    token = context.attach(trace.set_span_in_context(span, spans.in_session(delivery.key.session)))
    try:
        yield span
    finally:
        span.close()
        context.detach(token)
