"""What traces and metrics cost: processor time of our services a step, and steps a second, against a stack without.

Two stacks run side by side, and take turns: so a machine that is busy meanwhile, or gets warm, slows both alike. The
collector is a process of its own that answers and looks at nothing. It shares the machine, so that a part of what the
rate loses is its own.
"""

import contextlib
import subprocess
import sys
from collections.abc import Generator

from benchmarks.result import Row, Spread, at_most, spread
from benchmarks.rig import Bench, Rig, run
from benchmarks.throughput import Looped, looped

TITLE = "processor time of a step with traces and metrics"

SESSIONS = 10

SERVICES = ("harness", "session", "sandbox")
"""Beginnings of the names of the processes through which a step goes."""

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


async def _take_turns(without: Rig, within: Rig) -> tuple[list[Looped], list[Looped]]:
    found: dict[Rig, list[Looped]] = {without: [], within: []}
    for number in range(without.options.count(6, 2) + 1):
        for rig, rounds in found.items():
            once = await looped(rig, SESSIONS)
            if number:  # the first round warms up
                rounds.append(once)
    return found[without], found[within]


def _busy(rounds: list[Looped]) -> Spread:
    """Processor time a step of the services through which it goes, in ms."""
    return spread([
        sum(seconds for name, seconds in once.busy.items() if name.startswith(SERVICES)) * 1e3 for once in rounds
    ])  # fmt: skip


def _rates(rounds: list[Looped]) -> Spread:
    return spread([rate for once in rounds for rate in once.rates], rate=True)


def figure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    with _collector() as address, bench.rig(own=True) as without:
        plans = {
            "traces by OTLP": {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_METRICS_EXPORTER": "none"},
            "metrics by OTLP": {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_EXPORTER": "none"},
            "metrics for Prometheus": {"OTEL_METRICS_EXPORTER": "prometheus"},
        }
        for name, environ in plans.items():
            with bench.rig(own=True, environ=environ) as within:
                off, on = run(lambda within=within: _take_turns(without, within))
            busy, least = _busy(on), _busy(off)
            rows += [
                Row(
                    name=f"processor time a step with {name}", unit="ms", found=busy, floor=least,
                    floor_name="without", aims=[at_most("at most 1.05 of the floor", busy.p50 / least.p50, 1.05)],
                ),
                Row(
                    name=f"steps with {name}, {SESSIONS} sessions", unit="1/s", found=_rates(on), floor=_rates(off),
                    floor_name="without",
                ),
            ]  # fmt: skip
    return rows
