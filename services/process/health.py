"""Liveness and readiness of one process over HTTP on loopback.

`/healthz` answers 200 while the event loop runs, `/readyz` 200 while every check is true and the process is not
stopping; both 503 otherwise. The body names each check with its age and, where it is known, with the cause that keeps
it false.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

MAX_LAG: Final = 5.0
"""Seconds that the event loop may be late before the process counts as stuck."""

_TICK: Final = 0.5
_READ_TIMEOUT: Final = 5.0


class Check(msgspec.Struct):
    """`age` is seconds since the check was last set. `cause` is a sentence for a person: why the check is false and
    stays so until somebody acts, with the ways out. It is empty when that is not known."""

    ok: bool
    age: float
    cause: str = ""


class Report(msgspec.Struct):
    """Body of both probes. `lag` is how late the loop was, in seconds, at its last tick. `notes` say in half a sentence
    each how the process works otherwise than a person may expect, though it is ready; none is the usual case."""

    service: str
    ok: bool
    stopping: bool
    lag: float
    checks: dict[str, Check]
    notes: dict[str, str] = {}


class Health:
    """The state of the checks of one process. A check that is expected but was never set is false."""

    def __init__(self, service: str, *expected: str) -> None:
        self._service = service
        now = time.monotonic()
        self._checks: dict[str, tuple[bool, float, str]] = dict.fromkeys(expected, (False, now, ""))
        self._notes: dict[str, str] = {}
        self._stopping = False
        self._tick = now
        self._lag = 0.0

    def set(self, check: str, ok: bool, cause: str = "") -> None:
        """Record that `check` was looked at just now; `cause` says why it stays false, see `Check`."""
        self._checks[check] = (ok, time.monotonic(), cause)

    def note(self, name: str, text: str) -> None:
        """Tell a person `text` under `name` in every report from now on; an empty text takes the note back."""
        if text:
            self._notes[name] = text
        else:
            self._notes.pop(name, None)

    def stop(self) -> None:
        """Not ready from here on; called at the first signal, before the drain."""
        self._stopping = True

    @property
    def ready(self) -> bool:
        return bool(self._checks) and not self._stopping and all(ok for ok, _, _ in self._checks.values())

    @property
    def alive(self) -> bool:
        return max(self._lag, time.monotonic() - self._tick - _TICK) < MAX_LAG

    def report(self, ok: bool) -> Report:
        now = time.monotonic()
        checks = {name: Check(state, round(now - at, 3), cause) for name, (state, at, cause) in self._checks.items()}
        return Report(self._service, ok, self._stopping, round(self._lag, 4), checks, dict(self._notes))

    @contextlib.asynccontextmanager
    async def serve(self, port: int) -> AsyncGenerator[None]:
        """Answer probes on 127.0.0.1:`port` while the block runs; port 0 serves nothing. On leaving: not ready."""
        ticker = asyncio.create_task(self._watch_loop(), name="health-tick")
        server = await asyncio.start_server(self._answer, "127.0.0.1", port) if port else None
        try:
            yield
        finally:
            self.stop()
            ticker.cancel()
            if server:
                server.close()
                await server.wait_closed()

    async def _watch_loop(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_TICK)
            self._tick = time.monotonic()
            self._lag = max(0.0, self._tick - before - _TICK)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._respond(request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # a probe that went away or speaks no HTTP gets no answer
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
        else:
            return _http(404, "Not Found", b'{"error":"try /healthz or /readyz"}')
        body = msgspec.json.encode(self.report(ok))
        status = (200, "OK") if ok else (503, "Service Unavailable")
        return _http(*status, body if method == b"GET" else b"")


def _http(status: int, reason: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
