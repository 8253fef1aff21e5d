"""Traces: OTLP over HTTP when an endpoint is configured by the standard OTEL_* variables, else ids only.

Without an endpoint nothing is recorded, but every span still has valid W3C ids and passes them on, so the headers of a
message and the fields of a log line are the same in both cases. Only this module uses the SDK; the API may be used
anywhere. Baggage is neither read nor sent: it would carry a caller's text into every message.
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

FLUSH: Final = 2.0
"""Seconds that the last spans have to reach the collector at stop; a dead endpoint must not hold the process."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_propagator: Final = TraceContextTextMapPropagator()
_random: Final = random.Random(int.from_bytes(os.urandom(16)))  # noqa: S311  ids must differ, they need not be secret
_installed: list[str] = []
_stop_exporter: list[Callable[[], None]] = []


class _AnyCase(Getter[Mapping[str, str]]):
    """NATS keeps the spelling of header names, so a peer's `Traceparent` must be found too."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        found = [value for name, value in carrier.items() if name.lower() == key]
        return found or None

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_getter: Final = _AnyCase()


def _new_context(parent: SpanContext) -> SpanContext:
    """A child of `parent`, or a root that says "sampled", so that a service which does record is not switched off."""
    span_id = _random.getrandbits(64) or 1
    if parent.is_valid:
        return SpanContext(parent.trace_id, span_id, False, parent.trace_flags, parent.trace_state)
    return SpanContext(_random.getrandbits(128) or 1, span_id, False, TraceFlags(TraceFlags.SAMPLED))


class _IdsOnlyTracer(trace.NoOpTracer):
    """Spans that are recorded nowhere and only hand on their ids."""

    def start_span(self, name: str, context: Context | None = None, *_: Any, **__: Any) -> Span:  # noqa: ARG002
        return NonRecordingSpan(_new_context(trace.get_current_span(context).get_span_context()))


class _IdsOnlyProvider(trace.TracerProvider):
    def __init__(self) -> None:
        self._tracer = _IdsOnlyTracer()

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self._tracer


def setup(service: str) -> None:
    """Install the tracer provider of this process; the first call decides."""
    if _installed:
        return
    _installed.append(service)
    if not any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "") == "true":
        trace.set_tracer_provider(_IdsOnlyProvider())
        return
    # Imported here: without a collector the SDK costs start-up time and memory for nothing.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.namespace": "holdfast", "service.name": service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=FLUSH)))
    trace.set_tracer_provider(provider)
    _stop_exporter.append(provider.shutdown)


def shutdown() -> None:
    """Send the last spans, for at most FLUSH seconds."""
    while _stop_exporter:
        worker = threading.Thread(target=_stop_exporter.pop(), name="telemetry-flush", daemon=True)
        worker.start()
        worker.join(FLUSH)


def tracer() -> trace.Tracer:
    """The tracer of this project."""
    return trace.get_tracer("holdfast")


def inject(headers: MutableMapping[str, str]) -> None:
    """Put `traceparent` into the headers of a message: the current span's, or a new root's when none is current."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        context = _new_context(context)
    headers["traceparent"] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    if context.trace_state:
        headers["tracestate"] = context.trace_state.to_header()


def extract(headers: Mapping[str, str] | None) -> Context:
    """The context that a message came with; an empty one when it has none or an invalid one."""
    return _propagator.extract(headers or {}, Context(), _getter)
