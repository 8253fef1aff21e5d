"""Traces, metrics and logs, as the standard OTEL_* variables ask for them (`exporters.py`); else trace ids only.

Without an exporter nothing is recorded, but every span has valid W3C ids and passes them on, so message headers and log
lines have the same fields in both cases. Only this module uses the SDK of OpenTelemetry; any module may use its API.
Baggage is neither read nor sent, because it would carry a caller's text into every message.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, MutableMapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from holdfast.process import logs, metering, metrics, spans
from holdfast.process.exporters import exporters
from holdfast.process.metrics import Metric

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

FLUSH_TIMEOUT_S: Final = 2.0
"""Time that the export of the last spans may take at stop, so that a dead collector does not delay the exit."""

SERVICE_NAMESPACE: Final = "holdfast"

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0"
"""Of the names in `metrics.py` and of spans."""

_ALL_SIGNALS: Final = ("traces", "metrics", "logs")
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
    """Install what this process exports. Only the first call has an effect. Raises ValueError for a bad variable."""
    if _installed:
        return
    asked = {signal: exporters(signal, os.environ) for signal in _ALL_SIGNALS}
    _installed.append(service)
    if not asked["traces"]:
        trace.set_tracer_provider(_IdsOnlyProvider())
    if not any(asked.values()):
        return
    # Imported here and below: what exports nothing should not pay for the SDK with start-up time and memory.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    resource = Resource.create({
        "service.namespace": SERVICE_NAMESPACE,
        "service.name": service,
        "service.version": version("holdfast-agents"),
        "service.instance.id": f"{_random.getrandbits(64):016x}",
    })  # fmt: skip
    if asked["traces"]:
        _export_traces(resource)
    if asked["metrics"]:
        _export_metrics(resource, asked["metrics"])
    if asked["logs"]:
        from holdfast.process.log_export import log_export  # noqa: PLC0415

        send, stop = log_export(resource, timeout_s=FLUSH_TIMEOUT_S)
        logs.copies.append(send)
        _stop_exporter.append(stop)


def _export_traces(resource: "Resource") -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from holdfast.process.span_export import ChosenIds, HashedResource, SessionIds  # noqa: PLC0415

    provider = TracerProvider(resource=HashedResource(resource), shutdown_on_exit=False, id_generator=ChosenIds())
    provider.add_span_processor(SessionIds())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=FLUSH_TIMEOUT_S)))
    trace.set_tracer_provider(provider)
    spans.switch_on(provider)
    _stop_exporter.append(provider.shutdown)


def _export_metrics(resource: "Resource", asked: Collection[str]) -> None:
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader  # noqa: PLC0415

    readers: list[MetricReader] = []
    page: Callable[[], metering.Page] | None = None
    if "otlp" in asked:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(timeout=FLUSH_TIMEOUT_S)))
    if "prometheus" in asked:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

        reader = PrometheusMetricReader(
            scope_info_enabled=False, resource_attribute_filter=lambda name: name == "service.name"
        )
        readers.append(reader)
        page = lambda: (generate_latest(), CONTENT_TYPE_LATEST)  # noqa: E731
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    meter = provider.get_meter(SERVICE_NAMESPACE, schema_url=SCHEMA_URL)
    metering.install(instruments(meter), page)
    _stop_exporter.append(provider.shutdown)


def instruments(meter: Meter) -> dict[str, Any]:
    """An instrument for each metric, by its name."""
    return {metric.name: _instrument(meter, metric) for metric in metrics.ALL}


def _instrument(meter: Meter, metric: Metric) -> Any:
    match metric.kind:
        case "counter":
            counter = meter.create_counter(metric.name, metric.unit, metric.text)
            for value in metric.begins:
                counter.add(0, {metric.labels[0]: value})
            if not metric.labels:
                counter.add(0)
            return counter
        case "histogram":
            return meter.create_histogram(
                metric.name, metric.unit, metric.text, explicit_bucket_boundaries_advisory=metric.buckets
            )
        case "gauge":

            def read(_: CallbackOptions) -> list[Observation]:
                return [Observation(value, labels) for value, labels in metering.readings(metric)]

            return meter.create_observable_gauge(metric.name, [read], metric.unit, metric.text)


def shutdown() -> None:
    """Send the last spans and metrics, waiting at most FLUSH_TIMEOUT_S."""
    workers = [threading.Thread(target=stop, name="telemetry-flush", daemon=True) for stop in _stop_exporter]
    _stop_exporter.clear()
    deadline = time.monotonic() + FLUSH_TIMEOUT_S
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


def own_decision(remote: SpanContext, name: str) -> SpanContext:
    """The context of a caller, with our own decision whether its trace is sampled: its flag must not silence us."""
    if not spans.are_recorded():
        return remote
    from holdfast.process.span_export import own_decision as decide  # noqa: PLC0415  it imports the SDK

    return decide(remote, name)


def tracer() -> trace.Tracer:
    """The tracer of this project."""
    return spans.tracer()


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
