import re
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from opentelemetry import trace

from holdfast.process import telemetry

TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def test_a_message_always_carries_a_traceparent() -> None:
    headers: dict[str, str] = {}
    telemetry.inject(headers)
    assert TRACEPARENT.fullmatch(headers["traceparent"])


def test_ids_propagate_without_a_collector() -> None:
    telemetry.setup("test")
    incoming = {"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", "tracestate": "a=b"}
    outgoing: dict[str, str] = {}
    with telemetry.tracer().start_as_current_span("process", context=telemetry.extract(incoming)):
        telemetry.inject(outgoing)
    assert outgoing["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert "b7ad6b7169203331" not in outgoing["traceparent"]
    assert outgoing["tracestate"] == "a=b"


def test_a_root_has_new_ids_and_its_children_share_the_trace() -> None:
    telemetry.setup("test")
    with telemetry.tracer().start_as_current_span("one") as one, telemetry.tracer().start_as_current_span("two") as two:
        assert one.get_span_context().is_valid
        assert one.get_span_context().trace_id == two.get_span_context().trace_id
        assert one.get_span_context().span_id != two.get_span_context().span_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_rubbish_in_headers_is_no_context() -> None:
    for value in ("", "00-zz-1-1", "ff" * 40, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"):
        context = telemetry.extract({"traceparent": value})
        assert not trace.get_current_span(context).get_span_context().is_valid
    assert not trace.get_current_span(telemetry.extract(None)).get_span_context().is_valid


PROGRAM = """
import sys
from holdfast.process import telemetry
telemetry.setup("harness")
with telemetry.tracer().start_as_current_span("turn"):
    pass
telemetry.shutdown()
"""


def export(endpoint: str) -> float:
    start = time.monotonic()
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "PATH": ""}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, capture_output=True, timeout=20)
    return time.monotonic() - start


def test_spans_reach_a_collector_at_stop() -> None:
    bodies: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
            pass

    with HTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        export(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert b"turn" in bodies[0]
    assert b"harness" in bodies[0]


def test_a_collector_that_never_answers_does_not_hold_the_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert export(f"http://127.0.0.1:{silent.getsockname()[1]}") < 8
