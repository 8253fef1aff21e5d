"""One request to an endpoint: bounded in time and in what is read of the answer, and never to an inner address."""

import asyncio
import ssl
from collections.abc import Collection
from typing import Final

import aiohttp

from holdfast.process.outbound import public_connector, unchecked_connector, was_refused
from holdfast.session.webhooks.progress import Outcome
from holdfast.session.webhooks.target import is_named

MAX_AT_ONCE: Final = 256
"""Requests of one process at once. An endpoint has one at a time, so a slow endpoint slows no other."""

MAX_RETRY_AFTER_CHARS: Final = 6

_GONE: Final = 410


class Sender:
    """`hosts` may have any address. `timeout_s`: for a whole request, from the look-up of the name to the answer."""

    def __init__(self, hosts: Collection[str], timeout_s: float) -> None:
        self._hosts = hosts
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()

    async def send(self, url: str, body: bytes, headers: dict[str, str]) -> Outcome:
        """Post the body. Every failure is an Outcome; its text names no address and nothing that the endpoint said."""
        clock = asyncio.get_running_loop().time
        began_at = clock()
        status, error, retry_after = 0, "", ""
        try:
            async with self._session(is_named(url, self._hosts)).post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After", "")
                response.close()  # the body is not read
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            error = _cause(exc)
        if status:
            error = _refusal(status)
        return Outcome(
            status=status,
            error=error,
            duration_ms=round((clock() - began_at) * 1000),
            retry_after_s=_seconds(retry_after) if error else 0.0,
            gone=status == _GONE,
        )

    def _session(self, named: bool) -> aiohttp.ClientSession:
        """The session for hosts that the operator has named, or for others. Made on the event loop."""
        if named not in self._sessions:
            connector = unchecked_connector if named else public_connector
            self._sessions[named] = aiohttp.ClientSession(
                connector=connector(limit=MAX_AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "Holdfast-Webhooks"},
                timeout=self._timeout,
                auto_decompress=False,
            )
        return self._sessions[named]


def _refusal(status: int) -> str:
    """Why an answer of that status is no success; empty if it is one."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"the endpoint answered {status}, and redirects are not followed"
    return f"the endpoint answered {status}"


def _cause(exc: Exception) -> str:  # noqa: PLR0911  one case a cause
    match exc:
        case _ if was_refused(exc):
            return "the host has an address that is not public"
        case TimeoutError():
            return "the endpoint did not answer in time"
        case aiohttp.ClientConnectorDNSError():
            return "the name of the host cannot be resolved"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return "the certificate of the endpoint is not valid"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "no TLS connection can be made"
        case aiohttp.ClientConnectorError():
            return "the host does not take connections"
        case aiohttp.InvalidURL():
            return "the address of the endpoint is not valid"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "the endpoint did not answer in valid HTTP"
        case _:
            return "the connection was lost"


def _seconds(retry_after: str) -> float:
    """The seconds of the header; 0 for a date, and for anything else."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) <= MAX_RETRY_AFTER_CHARS else 0.0
