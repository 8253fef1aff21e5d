"""One request to an endpoint: bounded in time and in what is read of the answer, and never to an inner address.

Written on the streams of asyncio. A client library parses what it is sent for as long as it may take; an endpoint that
answers `100 Continue` without end would keep the process busy with it.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Collection
from typing import Final

from yarl import URL

from holdfast.process.outbound import AddressRefused, connect
from holdfast.session.webhooks.progress import Outcome
from holdfast.session.webhooks.target import is_named

MAX_LINE_BYTES: Final = 8 * 1024
"""Bytes of the longest line of an answer."""

MAX_HEADERS: Final = 128
"""Header lines of an answer."""

MAX_INTERIM: Final = 4
"""Answers of the statuses 100 to 199 before the final one."""

MAX_RETRY_AFTER_CHARS: Final = 6

_GONE: Final = 410

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})( [^\r\n]*)?\r?\n")


class NoHttp(Exception):
    """The answer is not HTTP, or larger than it may be."""


class Sender:
    """`hosts` may have any address. `timeout_s`: for a whole request, from the look-up of the name to the answer."""

    def __init__(self, hosts: Collection[str], timeout_s: float) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """Post the body. Every failure is an Outcome; its text names no address and nothing that the endpoint said."""
        clock = asyncio.get_running_loop().time
        began_at = clock()
        status, error, retry_after_s = 0, "", 0.0
        try:
            async with asyncio.timeout(self._timeout_s):
                status, retry_after_s = await self._post(URL(url), body, headers)
            error = _refusal(status)
        except (OSError, NoHttp, EOFError) as exc:  # TimeoutError is an OSError
            error = _cause(exc)
        return Outcome(
            status=status,
            error=error,
            duration_ms=round((clock() - began_at) * 1000),
            retry_after_s=retry_after_s if error else 0.0,
            gone=status == _GONE,
        )

    async def _post(self, url: URL, body: bytes, headers: dict[str, str]) -> tuple[int, float]:
        """The status of the answer, and the seconds of its `Retry-After`. The rest of it is not read."""
        assert url.raw_host is not None
        assert url.port is not None
        reader, writer = await connect(
            url.raw_host,
            url.port,
            tls=url.scheme == "https",
            limit=MAX_LINE_BYTES,
            check=not is_named(str(url), self._hosts),
        )
        try:
            lines = {
                "host": url.host_port_subcomponent or url.raw_host,
                "user-agent": "Holdfast-Webhooks",
                "content-length": str(len(body)),
                "connection": "close",
                **headers,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"POST {url.raw_path_qs} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await writer.drain()
            return await _answer(reader)
        finally:
            writer.transport.abort()  # at once: an endpoint must not hold it open


async def _answer(reader: asyncio.StreamReader) -> tuple[int, float]:
    """The final status and the seconds of `Retry-After`. Raises NoHttp, EOFError, OSError."""
    for _ in range(MAX_INTERIM + 1):
        found = _STATUS.fullmatch(await _line(reader))
        if found is None:
            raise NoHttp
        status, retry_after_s = int(found[1]), await _headers(reader)
        if status >= 200:
            return status, retry_after_s
    raise NoHttp


async def _headers(reader: asyncio.StreamReader) -> float:
    """Read to the end of the headers; the seconds of `Retry-After`, 0 for a date and without it."""
    retry_after_s = 0.0
    for _ in range(MAX_HEADERS):
        line = await _line(reader)
        if not line.strip():
            return retry_after_s
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "retry-after":
            retry_after_s = _seconds(value.strip())
    raise NoHttp


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise NoHttp from None


def _refusal(status: int) -> str:
    """Why an answer of that status is no success; empty if it is one."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"the endpoint answered {status}, and redirects are not followed"
    return f"the endpoint answered {status}"


def _cause(exc: Exception) -> str:  # noqa: PLR0911  one case a cause
    match exc:
        case AddressRefused():
            return "the host has an address that is not public"
        case TimeoutError():
            return "the endpoint did not answer in time"
        case socket.gaierror():
            return "the name of the host cannot be resolved"
        case ssl.SSLCertVerificationError():
            return "the certificate of the endpoint is not valid"
        case ssl.SSLError():
            return "no TLS connection can be made"
        case NoHttp():
            return "the endpoint did not answer in valid HTTP"
        case ConnectionRefusedError():
            return "the host does not take connections"
        case EOFError() | ConnectionError():
            return "the connection was lost"
        case _:
            return "the host cannot be reached"


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) <= MAX_RETRY_AFTER_CHARS else 0.0
