"""Spans whose ids are chosen, so that processes that never meet agree on them.

The span of a turn must survive the harness that drives it. Its ids follow from the input that began it, so every owner
of the turn knows them, hangs its own spans below it, and the last one sends it (`emit`). A span is never open for
longer than SEGMENT_S: what lasts longer is cut into segments, each linked to the one before.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, TraceFlags
from opentelemetry.util.types import AttributeValue

SEGMENT_S: Final = 840.0
"""Seconds after which a span is cut: below the 15 minutes after which backends give up on a trace."""

LINK: Final = "holdfast.link"
"""Attribute of a link that says why: CAUSED_BY, CONTINUES or RESUMED_FROM."""

CAUSED_BY: Final = "caused_by"
CONTINUES: Final = "continues"

CONTINUED: Final = "holdfast.continued"
"""True on a segment that another one follows."""

CONVERSATION: Final = "gen_ai.conversation.id"
SESSION: Final = "session.id"
ANTHROPIC_SESSION: Final = "anthropic.session.id"

_session = context.create_key("holdfast-session")

forced: Final[ContextVar[SpanContext | None]] = ContextVar("forced", default=None)
"""The ids of the next span that is started, if they are chosen."""


_NAME: Final = "holdfast"

_provider: Final[list[trace.TracerProvider]] = []
_tracer: Final[list[trace.Tracer]] = []
"""Made once: the SDK looks for a tracer for 10 us, each time that it is asked for one."""


def switch_on(provider: trace.TracerProvider) -> None:
    """Record spans with this provider from now on; called by `telemetry`."""
    _provider[:] = [provider]
    _tracer[:] = [provider.get_tracer(_NAME)]


def switch_off() -> None:
    """Record no spans any more."""
    _provider.clear()
    _tracer.clear()


def are_recorded() -> bool:
    """Whether spans are recorded. Ask before work whose only purpose is a span."""
    return bool(_provider)


def provider() -> trace.TracerProvider:
    """The one that records; else that of the process, whose spans have ids alone."""
    return _provider[0] if _provider else trace.get_tracer_provider()


def tracer() -> trace.Tracer:
    """The tracer of this project."""
    return _tracer[0] if _tracer else provider().get_tracer(_NAME)


def chosen(trace_id: int, flags: TraceFlags, *parts: object) -> SpanContext:
    """A context in the trace with the span id that follows from `parts`."""
    return SpanContext(trace_id, _hash(8, parts), is_remote=True, trace_flags=flags)


def chosen_trace(*parts: object) -> int:
    """The trace id that follows from `parts`."""
    return _hash(16, parts)


def _hash(size: int, parts: Sequence[object]) -> int:
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=size).digest()
    return int.from_bytes(digest) or 1


def in_session(session: str, within: Context | None = None) -> Context:
    """A context whose spans are of that session."""
    return context.set_value(_session, session, within)


def session_of(within: Context | None) -> str:
    """The session of a context; empty if it is of none."""
    found = context.get_value(_session, within)
    return found if isinstance(found, str) else ""


def emit(
    name: str,
    own: SpanContext,
    *,
    parent: SpanContext | None,
    session: str,
    began_ns: int,
    ended_ns: int,
    attributes: Mapping[str, AttributeValue],
    links: Sequence[Link] = (),
    events: Sequence[tuple[str, Mapping[str, Any], int]] = (),
    status: Status | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
) -> None:
    """Send a finished span with those ids. Times are nanoseconds since 1970."""
    within = in_session(session, Context())
    if parent is not None:
        within = trace.set_span_in_context(NonRecordingSpan(parent), within)
    token = forced.set(own)
    try:
        span = tracer().start_span(
            name, within, kind, dict(attributes), links, start_time=began_ns, record_exception=False
        )
    finally:
        forced.reset(token)
    for event, fields, at_ns in events:
        span.add_event(event, dict(fields), at_ns)
    if status is not None:
        span.set_status(status)
    span.end(ended_ns)


class LongSpan:
    """A span of something that may take long, below the span that is current now. It must be ended."""

    def __init__(self, name: str, kind: SpanKind, attributes: Mapping[str, AttributeValue]) -> None:
        self._name = name
        self._kind = kind
        self._attributes = dict(attributes)
        self._context = context.get_current()
        self._timer: asyncio.TimerHandle | None = None
        self.span = self._start(())

    def _start(self, links: Sequence[Link]) -> Span:
        if are_recorded():
            self._timer = asyncio.get_running_loop().call_later(SEGMENT_S, self.cut)
        return tracer().start_span(
            self._name, self._context, self._kind, self._attributes, links, record_exception=False
        )

    def cut(self) -> None:
        """End the span and go on with another one that is linked to it."""
        self.span.set_attribute(CONTINUED, True)
        self.span.end()
        self.span = self._start([Link(self.span.get_span_context(), {LINK: CONTINUES})])

    def end(self) -> None:
        """May be repeated."""
        if self._timer is not None:
            self._timer.cancel()
        self.span.end()
