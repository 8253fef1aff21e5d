"""W3C trace context in message headers.

A request and its answer are one call: the span of the caller is the parent. A message of a stream may be handled hours
later: the span of its writer is only linked; the context holds it under `LINK` for the spans that are started there.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace

from holdfast.process import telemetry

LINK = context.create_key("holdfast-link")
"""Key of the SpanContext that a span started now should link to."""


def inject(headers: dict[str, str] | None) -> dict[str, str] | None:
    """`headers` with the current trace context; without one they are returned as they are, None included."""
    if not trace.get_current_span().get_span_context().is_valid:
        return headers
    headers = {} if headers is None else headers
    telemetry.inject(headers)
    return headers


def inject_link(headers: dict[str, str]) -> dict[str, str]:
    """`headers` with the context that lies under LINK: for a message that is handed on as it came."""
    sent = context.get_value(LINK)
    if isinstance(sent, trace.SpanContext) and sent.is_valid:
        with trace.use_span(trace.NonRecordingSpan(sent)):
            telemetry.inject(headers)
    return headers


def _has_context(headers: Mapping[str, str]) -> bool:
    return "traceparent" in headers or "Traceparent" in headers


@contextmanager
def under(headers: Mapping[str, str], *, link: bool) -> Generator[None]:
    """While this is open, the context of `headers` is the parent of new spans, or with `link` lies under LINK."""
    if not _has_context(headers):
        yield
        return
    sent = telemetry.extract(headers)
    if link:
        sent = context.set_value(LINK, trace.get_current_span(sent).get_span_context())
    token = context.attach(sent)
    try:
        yield
    finally:
        context.detach(token)
