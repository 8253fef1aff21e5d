"""W3C trace context in message headers.

A request and its answer are one call: the caller's span is the parent. What goes through JetStream may be handled hours
later: the writer's span is only linked, and lies in the context under `LINK` for whoever starts a span there.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from opentelemetry import context, propagate, trace
from opentelemetry.propagators.textmap import Getter

LINK = context.create_key("holdfast-link")
"""Key of the SpanContext that a span started now should link to."""


class _AnyCase(Getter[Mapping[str, str]]):
    """NATS keeps the spelling of header names, and a peer may write `Traceparent`."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        found = [value for name, value in carrier.items() if name.lower() == key]
        return found or None

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return [name.lower() for name in carrier]


_GETTER = _AnyCase()


def inject(headers: dict[str, str] | None) -> dict[str, str] | None:
    """`headers` with the current trace context; they are returned untouched, maybe None, when there is none."""
    if not trace.get_current_span().get_span_context().is_valid:
        return headers
    headers = {} if headers is None else headers
    propagate.inject(headers)
    return headers


def _has_context(headers: Mapping[str, str]) -> bool:
    return "traceparent" in headers or "Traceparent" in headers


@contextmanager
def under(headers: Mapping[str, str], *, link: bool) -> Generator[None]:
    """While this is open, the context of `headers` is the parent of new spans, or with `link` lies under LINK."""
    if not _has_context(headers):
        yield
        return
    sent = propagate.extract(headers, getter=_GETTER)
    if link:
        sent = context.set_value(LINK, trace.get_current_span(sent).get_span_context())
    token = context.attach(sent)
    try:
        yield
    finally:
        context.detach(token)
