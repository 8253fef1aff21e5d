"""What traces and metrics cost: steps a second with a collector, and with the page for Prometheus, against without.

The collector is a process of its own that answers and looks at nothing. It shares the machine, so that a part of the
cost is its own.
"""

import contextlib
import subprocess
import sys
from collections.abc import Generator

from benchmarks.result import Row, Spread, at_least, spread
from benchmarks.rig import Bench, run
from benchmarks.throughput import looped

TITLE = "steps per second with traces and metrics"

SESSIONS = 10

_COLLECTOR = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def _collector() -> Generator[str]:
    """The address of a collector that takes everything."""
    with subprocess.Popen([sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def figure(bench: Bench) -> list[Row]:
    rates: dict[str, Spread] = {}
    with _collector() as address:
        plans = {
            "neither": {},
            "traces by OTLP": {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_METRICS_EXPORTER": "none"},
            "metrics by OTLP": {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_EXPORTER": "none"},
            "metrics for Prometheus": {"OTEL_METRICS_EXPORTER": "prometheus"},
        }
        for name, environ in plans.items():
            with bench.rig(own=True, environ=environ) as rig:
                rates[name] = spread(run(lambda rig=rig: looped(rig, SESSIONS)), rate=True)
    floor = rates.pop("neither")
    return [
        Row(
            name=f"steps with {name}, {SESSIONS} sessions", unit="1/s", found=found, floor=floor,
            floor_name="without", aims=[at_least("at least 0.95 of the floor", found.p50 / floor.p50, 0.95)],
        )
        for name, found in rates.items()
    ]  # fmt: skip
