"""Liveness, readiness and metrics of one process over HTTP.

`/healthz` answers 200 while the event loop runs. `/readyz` answers 200 while every check is true and the process is not
stopping. Otherwise both answer 503. The body has each check with its age and, if it is known, the cause of its failure.

A check that is made again and again is true for a limited time: when the task that makes it hangs or is gone, its last
result says nothing any more.

`/metrics` has the metrics for Prometheus if `OTEL_METRICS_EXPORTER` names `prometheus`, else it answers 404.
"""

import asyncio
import contextlib
import errno
import math
import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec

from holdfast.process import metering, metrics
from holdfast.process.settings import BadSettings

MAX_LOOP_LAG_S: Final = 5.0
"""Delay of the event loop from which the process counts as stuck."""

LOOPBACK: Final = "127.0.0.1"

_TICK_INTERVAL_S: Final = 0.5
_REQUEST_TIMEOUT_S: Final = 5.0


class Check(msgspec.Struct):
    """One check of the report. `age` is the time since it was last set, in seconds. `cause` says to an operator why it
    fails and what to do about it; it is empty if the cause is unknown or the failure is expected to end by itself."""

    ok: bool
    age: float
    cause: str = ""


class _Result(msgspec.Struct, frozen=True):
    """The last result of a check. Times are monotonic, in seconds; from `valid_until` on it counts as false."""

    ok: bool
    at: float
    cause: str = ""
    valid_until: float = math.inf

    def check(self, now: float) -> Check:
        age = round(now - self.at, 3)
        if self.ok and now >= self.valid_until:
            return Check(False, age, f"it was last looked at {age:.0f} s ago: the task that does that hangs")
        return Check(self.ok, age, self.cause)


class Report(msgspec.Struct):
    """Body of both probes. `lag` is the delay of the event loop at its last tick, in seconds. `notes` are remarks on a
    process that is ready but limited, for example without memory limits for its sandboxes, by name."""

    service: str
    ok: bool
    stopping: bool
    lag: float
    checks: dict[str, Check]
    notes: dict[str, str] = {}
    gauges: dict[str, float] = {}
    """Figures to scale by, such as `running_turns` of a harness, as they are now."""


class Health:
    """The checks of one process. An expected check is false until it is set."""

    def __init__(self, service: str, *expected: str) -> None:
        self._service = service
        now = time.monotonic()
        self._checks: dict[str, _Result] = dict.fromkeys(expected, _Result(False, now))
        self._notes: dict[str, str] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._stopping = False
        self._tick = now
        self._lag = 0.0

    def set(self, check: str, ok: bool, cause: str = "", *, valid_s: float = math.inf) -> None:
        """Record the result of `check` as of now; for `cause` see `Check`.

        A check that is made again and again gives `valid_s`, a multiple of its interval: after that many seconds
        without another result it is false.
        """
        now = time.monotonic()
        self._checks[check] = _Result(ok, now, cause, now + valid_s)

    def note(self, name: str, text: str) -> None:
        """Add the note `text` to every report from now on; an empty text removes it."""
        if text:
            self._notes[name] = text
        else:
            self._notes.pop(name, None)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Have `read` tell the figure `name` of every report from now on."""
        self._gauges[name] = read

    def stop(self) -> None:
        """Be unready from now on; called at the first signal, before the drain."""
        self._stopping = True

    @property
    def ready(self) -> bool:
        """Whether all checks are true and the process is not stopping."""
        now = time.monotonic()
        return bool(self._checks) and not self._stopping and all(one.check(now).ok for one in self._checks.values())

    @property
    def alive(self) -> bool:
        """Whether the event loop is less than MAX_LOOP_LAG_S late."""
        return max(self._lag, time.monotonic() - self._tick - _TICK_INTERVAL_S) < MAX_LOOP_LAG_S

    def report(self, ok: bool) -> Report:
        """The body of a probe whose result is `ok`."""
        now = time.monotonic()
        checks = {name: result.check(now) for name, result in self._checks.items()}
        gauges = {name: read() for name, read in self._gauges.items()}
        return Report(self._service, ok, self._stopping, round(self._lag, 4), checks, dict(self._notes), gauges)

    @contextlib.asynccontextmanager
    async def serve(self, port: int, host: str = LOOPBACK) -> AsyncGenerator[None]:
        """Answer probes on `host`:`port` while the block runs, and be unready after it. Port 0: no server.

        Raises BadSettings if this machine has no such address; OSError if the port is in use, which may end by itself.
        """
        server = await self._listen(port, host) if port else None
        metering.observe_number(metrics.LOOP_LAG, lambda: self._lag)
        ticker = asyncio.create_task(self._watch_loop(), name="health-tick")
        try:
            yield
        finally:
            self.stop()
            ticker.cancel()
            if server:
                server.close()
                await server.wait_closed()

    async def _listen(self, port: int, host: str) -> asyncio.Server:
        try:
            return await asyncio.start_server(self._answer, host, port)
        except (OSError, UnicodeError) as exc:
            if isinstance(exc, OSError) and exc.errno == errno.EADDRINUSE:
                raise
            cause = (exc.strerror if isinstance(exc, OSError) else "") or type(exc).__name__
            raise BadSettings(f"HOLDFAST_HEALTH_HOST, HOLDFAST_HEALTH_PORT: cannot listen there: {cause}") from None

    async def _watch_loop(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK_INTERVAL_S)
            self._tick = time.monotonic()
            self._lag = max(0.0, self._tick - before - _TICK_INTERVAL_S)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # the client has gone or speaks no HTTP
        finally:
            writer.close()

    def _respond(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _http(405, "Method Not Allowed", b'{"error":"only GET"}')
        if path == b"/healthz":
            ok = self.alive
        elif path == b"/readyz":
            ok = self.ready
        elif path == b"/metrics":
            return _metrics(method)
        else:
            return _http(404, "Not Found", b'{"error":"try /healthz, /readyz or /metrics"}')
        body = msgspec.json.encode(self.report(ok))
        status = (200, "OK") if ok else (503, "Service Unavailable")
        return _http(*status, body if method == b"GET" else b"")


def _metrics(method: bytes) -> bytes:
    page = metering.page()
    if page is None:
        return _http(404, "Not Found", b'{"error":"no metrics: start it with OTEL_METRICS_EXPORTER=prometheus"}')
    body, content_type = page
    return _http(200, "OK", body if method == b"GET" else b"", content_type)


def _http(status: int, reason: str, body: bytes, content_type: str = "application/json") -> bytes:
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
