"""Readiness probes for each kind of process, over loopback, without an HTTP library."""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from holdfast.cli.embedded.program import Readiness
from holdfast.process.health import Report

PROBE_TIMEOUT_S: Final = 1.0
"""Seconds one probe may take."""

_NO_ANSWER_ERRORS: Final = (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


async def http_status(port: int, path: str, tls: ssl.SSLContext | None = None) -> int:
    """Status of a GET on 127.0.0.1; 0 when there is no answer."""
    return (await http_get(port, path, tls))[0]


async def http_get(port: int, path: str, tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Status and body of a GET on 127.0.0.1; 0 and nothing when there is no answer."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                head, _, body = (await reader.read(1 << 20)).partition(b"\r\n\r\n")
                return int(head.split(b" ", 2)[1]), body
            finally:
                writer.close()
    except (*_NO_ANSWER_ERRORS, IndexError):
        return 0, b""


async def nats_name(port: int) -> str:
    """The name that the NATS server on that port says it has; empty when none answers."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                line = await reader.readuntil(b"\r\n")
                return msgspec.json.decode(line.removeprefix(b"INFO "), type=dict[str, Any]).get("server_name", "")
            finally:
                writer.close()
    except (*_NO_ANSWER_ERRORS, msgspec.MsgspecError):
        return ""


def http_ready(
    port: int, path: str = "/readyz", tls: ssl.SSLContext | None = None
) -> Callable[[], Coroutine[Any, Any, Readiness]]:
    """A probe that is true when that path answers 200. A body of /readyz gives the cause and the notes."""

    async def ready() -> Readiness:
        status, body = await http_get(port, path, tls)
        return readiness(status, body)

    return ready


def readiness(status: int, body: bytes) -> Readiness:
    """The readiness that a response of /readyz describes. Pure."""
    try:
        report = msgspec.json.decode(body, type=Report)
    except msgspec.MsgspecError:
        return Readiness(status == 200)
    cause = next((check.cause for check in report.checks.values() if not check.ok and check.cause), "")
    return Readiness(status == 200, cause, report.notes)


def nats_ready(port: int, name: str) -> Callable[[], Coroutine[Any, Any, Readiness]]:
    """A probe that is true when our own server answers; another server on its port is a cause."""

    async def ready() -> Readiness:
        found = await nats_name(port)
        if found and found != name:
            return Readiness(False, f"another NATS server ({found}) answers on its port, {port}")
        return Readiness(found == name)

    return ready
