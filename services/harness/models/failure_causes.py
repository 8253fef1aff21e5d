"""What a failed request tells: why a connection broke, when to come back, which request it was."""

import math
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientHttpProxyError, ServerDisconnectedError
from aiohttp.http_exceptions import HttpProcessingError

REQUEST_ID_HEADERS: Final = ("request-id", "x-request-id", "x-amzn-requestid")
"""Headers in which an endpoint names the request: Anthropic's, that of most gateways, Bedrock's. The first one wins."""

_REQUEST_ID: Final = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def without_credentials(url: str) -> str:
    """The address without user name, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def chain(exc: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def cause(exc: BaseException) -> str:  # noqa: C901, PLR0911  one case an error
    """Why a connection failed, in a few words that do not contain the address."""
    for inner in chain(exc):
        match inner:
            case TimeoutError():
                return "no answer in time"
            case ServerDisconnectedError():
                return "it closed the connection without an answer"
            case ClientHttpProxyError():
                return f"the proxy answered {inner.status} {inner.message}"
            case ClientError():  # some are an OSError or SSLError too, but the error that they wrap says more
                continue
            case socket.gaierror():
                return "its host name cannot be resolved"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {inner.verify_message}"
            case ssl.SSLError():
                return f"TLS failed: {inner.reason or inner}"
            case OSError() if inner.errno:
                return os.strerror(inner.errno).lower()
            case HttpProcessingError():  # what came is no HTTP, or ends too early
                return " ".join(inner.message.split()) or type(inner).__name__
            case _:
                continue
    innermost = list(chain(exc))[-1]
    return (str(innermost).splitlines() or [""])[0] or type(innermost).__name__


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds to wait according to `retry-after-ms` or `retry-after` (a number or a date), finite and not negative.

    `now` is in seconds since 1970. 0 if the headers name no time that can be read, or one in the past.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        with suppress(ValueError, OverflowError):
            seconds = _seconds(value, unit, now)
            if math.isfinite(seconds):
                return max(seconds, 0.0)
    return 0.0


def _seconds(value: str, unit: float, now: float) -> float:
    """Raises ValueError, OverflowError."""
    try:
        return float(value) / unit
    except ValueError:
        at = parsedate_to_datetime(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now


def request_id(headers: Mapping[str, str]) -> str:
    """The id under which the endpoint's operator finds the request; empty if the headers name none."""
    for name in REQUEST_ID_HEADERS:
        if _REQUEST_ID.fullmatch(value := headers.get(name, "")):
            return value
    return ""
