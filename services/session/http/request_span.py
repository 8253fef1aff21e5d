"""The span of a request. It hangs below the caller's span if the caller has shown a valid key.

A trace that anybody may name must not be ours: before the key was looked at, and of a caller without one, it is only
linked. Whether the trace is sampled is our own decision: the caller's flag must not silence us.
"""

import time

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, StatusCode
from starlette.datastructures import Headers

from holdfast.process import metrics, telemetry
from holdfast.session.http.routing import Route
from holdfast.session.http.span_names import span_name

INTERNAL = 500


class RequestSpan:
    """Begins with the request; the span itself is made when it is known whose it is, or at the end."""

    def __init__(self, method: str, headers: Headers, request_id: str) -> None:
        self._method = method
        self._headers = headers
        self._request_id = request_id
        self._began_ns = time.time_ns()
        self._span: Span | None = None

    def begin(self, route: Route | None, *, trusted: bool) -> None:
        """Make the span, and let it be the current one until the end of this task."""
        if self._span is not None:
            return
        name = span_name(route.method, route.path) if route else self._method
        remote = trace.get_current_span(telemetry.extract(self._headers)).get_span_context()
        within, links = Context(), list[Link]()
        if remote.is_valid and trusted:
            within = trace.set_span_in_context(NonRecordingSpan(telemetry.own_decision(remote, name)), within)
        elif remote.is_valid:
            links.append(Link(remote))
        attributes = {metrics.METHOD: self._method, "anthropic.request.id": self._request_id}
        if route is not None:
            attributes[metrics.ROUTE] = route.path
        self._span = telemetry.tracer().start_span(
            name, within, SpanKind.SERVER, attributes, links, start_time=self._began_ns, record_exception=False
        )
        context.attach(trace.set_span_in_context(self._span))

    def end(self, status: int, route: Route | None) -> None:
        """Of an event stream: when it begins, as it may last for days. May be repeated. Status 0: the client left."""
        self.begin(route, trusted=False)
        if self._span is None or not self._span.is_recording():
            return
        self._span.set_attribute(metrics.STATUS, status)
        if status >= 500 and status != INTERNAL:  # whose cause is on the span already (`failures.bug`)
            self._span.set_attribute(metrics.ERROR, str(status))
            self._span.set_status(StatusCode.ERROR, f"status {status}")
        self._span.end()
