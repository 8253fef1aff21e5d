"""What the errors of the `anthropic` client mean to a session: a `ModelFailure` that names the address and the cause.

The text may be shown to the user: it never holds the key, nor a user name or password of the address.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

import anthropic
import httpx2
from aiohttp import ClientError, ServerDisconnectedError

from holdfast.harness.models import Endpoint, ModelFailure
from holdfast.harness.models.response_reader import StreamError

FAILED: Final = "model_request_failed_error"
OVERLOADED: Final = "model_overloaded_error"
RATE_LIMITED: Final = "model_rate_limited_error"
BILLING: Final = "billing_error"

_OVERLOADED_STATUS: Final = 529

_TOO_LONG: Final = ("too long", "context limit", "context length")
"""Words of endpoints for a request that is larger than the context of the model."""

_NO_CREDIT: Final = ("credit balance", "spend_limit", "ramp_limit", "billing")
"""Words of endpoints, in the message or the error code, for an account that must be topped up first."""

_PASSING: Final = ("overloaded_error", "rate_limit_error")
"""Errors in the middle of a stream that say that the model is busy."""

_HOLDFAST: Final = "holdfast"
"""The `server` header of Holdfast's own API."""

_TEXT_LIMIT: Final = 500
"""Characters of an endpoint's own words that are repeated."""


class Failures:
    """Names the failures of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.key
        self._silence = endpoint.silence
        self._model = f"The model at {shown(endpoint.base_url)}"
        self._address = shown(endpoint.base_url)

    def of(self, exc: Exception, *, began: bool) -> ModelFailure:
        """`began`: a part of the answer had come before the error."""
        failure = self._of(exc, began)
        if self._key and self._key in str(failure):
            failure.args = (str(failure).replace(self._key, "***"),)
        return failure

    def _of(self, exc: Exception, began: bool) -> ModelFailure:
        match exc:
            case anthropic.APIStatusError():
                return self._status(exc)
            case TimeoutError() | anthropic.APITimeoutError() if not _never_connected(exc):
                text = f"{self._model} sent nothing for {self._silence:g} s"
                return ModelFailure(FAILED, text, retryable=True, outage=not began)
            case StreamError():
                kind = OVERLOADED if exc.kind == "overloaded_error" else FAILED
                kind = RATE_LIMITED if exc.kind == "rate_limit_error" else kind
                outage = not began or exc.kind in _PASSING
                return ModelFailure(kind, f"{self._model} broke off: {exc}", retryable=True, outage=outage)
            case anthropic.APIError():
                return self._unreachable(exc)
            case httpx2.HTTPError() | ClientError():
                text = f"The answer of the model at {self._address} broke off: {cause(exc)}"
                return ModelFailure(FAILED, text, retryable=True, outage=not began)
            case _:
                text = f"The answer of the model at {self._address} could not be used: {exc}"
                return ModelFailure(FAILED, text[:_TEXT_LIMIT], retryable=True)

    def _unreachable(self, exc: anthropic.APIError) -> ModelFailure:
        text = f"{self._model} could not be reached: {cause(exc)}"
        broken = any(isinstance(e, ssl.SSLError) for e in _chain(exc))
        return ModelFailure(FAILED, text, retryable=True, outage=not broken)

    def _status(self, exc: anthropic.APIStatusError) -> ModelFailure:
        """An error status: what it is called in `session.error`, and whether trying again may help."""
        status, after, body = exc.status_code, retry_after(exc.response.headers, time.time()), _error(exc)
        if exc.response.headers.get("server") == _HOLDFAST:
            text = (
                f"The model address {self._address} points to Holdfast itself. Set HOLDFAST_MODEL_BASE_URL to the "
                "address of a model: a server of the Messages API"
            )
            return ModelFailure(FAILED, text, retryable=False)
        if status == 401 and not self._key:
            text = (
                f"No API key is set for the model at {self._address}, and it asks for one. Set HOLDFAST_MODEL_API_KEY "
                "for `holdfast up`, or HOLDFAST_MODEL_KEY_FILE for a harness that is started by itself"
            )
            return ModelFailure(FAILED, text, retryable=False)
        message = f"{self._model} answered {status}: {str(body.get('message') or exc.message)[:_TEXT_LIMIT]}"
        code = str(_object(body.get("details")).get("error_code") or "")
        if status == 402 or (status in (400, 403, 429) and any(w in message or w in code for w in _NO_CREDIT)):
            return ModelFailure(BILLING, message, retryable=False)
        if status == 429:
            return ModelFailure(RATE_LIMITED, message, retryable=True, retry_after=after, outage=True)
        if status == _OVERLOADED_STATUS or body.get("type") == "overloaded_error":
            return ModelFailure(OVERLOADED, message, retryable=True, retry_after=after, outage=True)
        refused = status in (400, 413, 422)
        too_long = status == 413 or (refused and any(words in message for words in _TOO_LONG))
        return ModelFailure(
            FAILED,
            message,
            retryable=status in (408, 409) or status >= 500,
            outage=status >= 500,
            retry_after=after,
            too_long=too_long,
            refused=refused,
        )


def shown(url: str) -> str:
    """The address without user name, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def cause(exc: BaseException) -> str:  # noqa: PLR0911  one case an error
    """Why a connection failed, in a few words without the address."""
    for inner in _chain(exc):
        match inner:
            case TimeoutError() | httpx2.TimeoutException():
                return "no answer in time"
            case ServerDisconnectedError():
                return "it closed the connection without an answer"
            case ClientError():  # some are an OSError or SSLError as well, but the one that they wrap says more
                continue
            case socket.gaierror():
                return "its host name cannot be resolved"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {inner.verify_message}"
            case ssl.SSLError():
                return f"TLS failed: {inner.reason or inner}"
            case OSError() if inner.errno:
                return os.strerror(inner.errno).lower()
            case _:
                continue
    innermost = list(_chain(exc))[-1]
    return (str(innermost).splitlines() or [""])[0][:_TEXT_LIMIT] or type(innermost).__name__


def _never_connected(exc: BaseException) -> bool:
    return any(isinstance(e, httpx2.ConnectTimeout | httpx2.PoolTimeout) for e in _chain(exc))


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that the endpoint asks to wait: a number or a date. 0: it did not say, or nothing that can be read.

    `now` in seconds since 1970. Not bounded: the number may be negative, infinite or no number.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return float(value) / unit
        except ValueError:
            pass
        try:
            return parsedate_to_datetime(value).timestamp() - now
        except (ValueError, OverflowError):
            pass
    return 0.0


def _error(exc: anthropic.APIStatusError) -> dict[str, Any]:
    return _object(_object(exc.body).get("error"))


def _object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, an empty one otherwise."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
