"""Traces: OTLP over HTTP if the standard OTEL_* variables name an endpoint, else trace ids only.

Without an endpoint nothing is recorded, but every span has valid W3C ids and passes them on, so message headers and log
lines have the same fields in both cases. Only this module uses the SDK of OpenTelemetry; any module may use its API.
Baggage is neither read nor sent, because it would carry a caller's text into every message.
"""

import os
import random
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

FLUSH_TIMEOUT_S: Final = 2.0
"""Time that the export of the last spans may take at stop, so that a dead collector does not delay the exit."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_propagator: Final = TraceContextTextMapPropagator()
_random: Final = random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311  ids must differ, they need not be secret
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(16)))  # else two forks would make the same ids
_installed: list[str] = []
_stop_exporter: list[Callable[[], None]] = []


class _AnyCase(Getter[Mapping[str, str]]):
    """Finds `Traceparent` too: NATS keeps the spelling of header names that the sender chose."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        found = [value for name, value in carrier.items() if name.lower() == key]
        return found or None

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_getter: Final = _AnyCase()


def _new_context(parent: SpanContext) -> SpanContext:
    """A child of `parent`, or a root marked as sampled, so that a service with a collector records its part."""
    span_id = _random.getrandbits(64) or 1
    if parent.is_valid:
        return SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)
    return SpanContext(_random.getrandbits(128) or 1, span_id, False, TraceFlags(TraceFlags.SAMPLED))


class _IdsOnlyTracer(trace.NoOpTracer):
    """Makes spans that are not recorded and only pass on their ids."""

    def start_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Span:  # noqa: ARG002
        return NonRecordingSpan(_new_context(trace.get_current_span(context).get_span_context()))


class _IdsOnlyProvider(trace.TracerProvider):
    def __init__(self) -> None:
        self._tracer = _IdsOnlyTracer()

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self._tracer


def setup(service: str) -> None:
    """Install the tracer provider of this process. Only the first call has an effect."""
    if _installed:
        return
    _installed.append(service)
    if not any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "") == "true":
        trace.set_tracer_provider(_IdsOnlyProvider())
        return
    # Imported here: without a collector the SDK would cost start-up time and memory without use.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.namespace": "holdfast", "service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=FLUSH_TIMEOUT_S)))
    trace.set_tracer_provider(provider)
    _stop_exporter.append(provider.shutdown)


def shutdown() -> None:
    """Send the last spans, waiting at most FLUSH_TIMEOUT_S."""
    while _stop_exporter:
        worker = threading.Thread(target=_stop_exporter.pop(), name="telemetry-flush", daemon=True)
        worker.start()
        worker.join(FLUSH_TIMEOUT_S)


def tracer() -> trace.Tracer:
    """The tracer of this project."""
    return trace.get_tracer("holdfast")


def inject(headers: MutableMapping[str, str]) -> None:
    """Set `traceparent` of a message: from the current span, or from a new root if there is no current span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        context = _new_context(context)
    headers["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()


def extract(headers: Mapping[str, str] | None) -> Context:
    """The trace context in the headers of a message; empty if there is none or it is invalid."""
    return _propagator.extract(headers or {}, Context(), _getter)
