"""A collector: an HTTP server that takes spans, metrics and logs by OTLP, and shows what came."""

import contextlib
import gzip
import threading
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class SeenSpan(msgspec.Struct, kw_only=True):
    """A span as it arrived. Ids are hexadecimal, times nanoseconds since 1970. `status` 2 is ERROR."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    kind: int
    began_ns: int
    ended_ns: int
    status: int
    attributes: dict[str, Any]
    events: dict[str, dict[str, Any]]
    links: list[tuple[str, str, dict[str, Any]]]
    """Trace, span, attributes."""


class SeenLine(msgspec.Struct, kw_only=True):
    """A log record as it arrived. `severity` as in the protocol: 9 is INFO, 13 WARN, 17 ERROR."""

    service: str
    text: str
    severity: int
    trace: str
    span: str
    attributes: dict[str, Any]


def _line(service: str, record: Any) -> SeenLine:
    return SeenLine(
        service=service,
        text=_value(record.body),
        severity=record.severity_number,
        trace=record.trace_id.hex(),
        span=record.span_id.hex(),
        attributes=_attributes(record.attributes),
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found: Any = getattr(value, kind) if kind else None
    return [_value(v) for v in found.values] if kind == "array_value" else found


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


class Sink:
    """What has arrived since the start."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._spans: list[SeenSpan] = []
        self.metrics: set[str] = set()
        self.logs: list[SeenLine] = []
        self.raw = b""
        """All bodies, one after the other: to look for what must not be there."""
        self._lock = threading.Lock()

    def spans(self, name: str = "", **attributes: Any) -> list[SeenSpan]:
        """Those whose name begins so and that have these attributes, in the order of their begins."""
        wanted: Mapping[str, Any] = {key.replace("__", "."): value for key, value in attributes.items()}
        with self._lock:
            found = [
                span
                for span in self._spans
                if span.name.startswith(name) and all(span.attributes.get(k) == v for k, v in wanted.items())
            ]
        return sorted(found, key=lambda span: span.began_ns)

    def add(self, path: str, body: bytes) -> None:
        with self._lock:
            self.raw += body
            if path == "/v1/logs":
                for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                    service = _attributes(resource.resource.attributes)["service.name"]
                    self.logs += [_line(service, one) for scope in resource.scope_logs for one in scope.log_records]
                return
            if path == "/v1/metrics":
                request = ExportMetricsServiceRequest.FromString(body)
                scopes = [scope for resource in request.resource_metrics for scope in resource.scope_metrics]
                self.metrics |= {metric.name for scope in scopes for metric in scope.metrics}
                return
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _attributes(resource.resource.attributes)["service.name"]
                self._spans += [_seen(service, span) for scope in resource.scope_spans for span in scope.spans]


def _seen(service: str, span: Any) -> SeenSpan:
    return SeenSpan(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        status=span.status.code,
        attributes=_attributes(span.attributes),
        events={event.name: _attributes(event.attributes) for event in span.events},
        links=[(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in span.links],
    )


@contextlib.contextmanager
def otlp_sink() -> Generator[Sink]:
    """A running sink; give its `endpoint` as OTEL_EXPORTER_OTLP_ENDPOINT."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.add(self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="otlp-sink", daemon=True)
    thread.start()
    sink.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
