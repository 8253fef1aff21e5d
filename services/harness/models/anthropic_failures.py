"""Translates errors of the `anthropic` client into a `ModelFailure` that names the address and the cause.

The message is shown to the user: it never holds the API key, nor a user name or password of the address.
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

from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.response_reader import StreamError

FAILED: Final = "model_request_failed_error"
OVERLOADED: Final = "model_overloaded_error"
RATE_LIMITED: Final = "model_rate_limited_error"
BILLING: Final = "billing_error"

_OVERLOADED_STATUS: Final = 529

_CONTEXT_OVERFLOW: Final = ("too long", "context limit", "context length")
"""Phrases in the error of an endpoint when a request is larger than the model's context window."""

_NO_CREDIT: Final = ("credit balance", "spend_limit", "ramp_limit", "billing")
"""Phrases in the error message or error code of an endpoint when the account has no credit."""

_BUSY: Final = ("overloaded_error", "rate_limit_error")
"""Types of an error event in the middle of a stream that mean that the model is busy."""

_HOLDFAST: Final = "holdfast"
"""Value of the `server` header of Holdfast's own API."""

_TEXT_LIMIT_CHARS: Final = 500
"""Length to which an endpoint's own error text is cut."""


class FailureTranslator:
    """Translates the errors of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._key = endpoint.key
        self._silence = endpoint.silence
        self._model = f"The model at {without_credentials(endpoint.base_url)}"
        self._address = without_credentials(endpoint.base_url)

    def translate(self, exc: Exception, *, began: bool) -> ModelFailure:
        """The failure for `exc`, without the API key. `began`: part of the response had arrived before the error."""
        failure = self._translate(exc, began)
        if self._key and self._key in str(failure):
            failure.args = (str(failure).replace(self._key, "***"),)
        return failure

    def _translate(self, exc: Exception, began: bool) -> ModelFailure:
        match exc:
            case anthropic.APIStatusError():
                return self._status(exc)
            case TimeoutError() | anthropic.APITimeoutError() if not _never_connected(exc):
                text = f"{self._model} sent nothing for {self._silence:g} s"
                return ModelFailure(FAILED, text, retryable=True, outage=not began)
            case StreamError():
                kind = OVERLOADED if exc.kind == "overloaded_error" else FAILED
                kind = RATE_LIMITED if exc.kind == "rate_limit_error" else kind
                outage = not began or exc.kind in _BUSY
                return ModelFailure(kind, f"{self._model} broke off: {exc}", retryable=True, outage=outage)
            case anthropic.APIError():
                return self._unreachable(exc)
            case httpx2.HTTPError() | ClientError():
                text = f"The answer of the model at {self._address} broke off: {cause(exc)}"
                return ModelFailure(FAILED, text, retryable=True, outage=not began)
            case _:
                text = f"The answer of the model at {self._address} could not be used: {exc}"
                return ModelFailure(FAILED, text[:_TEXT_LIMIT_CHARS], retryable=True)

    def _unreachable(self, exc: anthropic.APIError) -> ModelFailure:
        text = f"{self._model} could not be reached: {cause(exc)}"
        broken = any(isinstance(e, ssl.SSLError) for e in _chain(exc))
        return ModelFailure(FAILED, text, retryable=True, outage=not broken)

    def _status(self, exc: anthropic.APIStatusError) -> ModelFailure:
        """The failure for an HTTP error status."""
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
        message = f"{self._model} answered {status}: {str(body.get('message') or exc.message)[:_TEXT_LIMIT_CHARS]}"
        code = str(_object(body.get("details")).get("error_code") or "")
        if status == 402 or (status in (400, 403, 429) and any(w in message or w in code for w in _NO_CREDIT)):
            return ModelFailure(BILLING, message, retryable=False)
        if status == 429:
            return ModelFailure(RATE_LIMITED, message, retryable=True, retry_after=after, outage=True)
        if status == _OVERLOADED_STATUS or body.get("type") == "overloaded_error":
            return ModelFailure(OVERLOADED, message, retryable=True, retry_after=after, outage=True)
        rejected = status in (400, 413, 422)
        overflow = status == 413 or (rejected and any(words in message for words in _CONTEXT_OVERFLOW))
        return ModelFailure(
            FAILED,
            message,
            retryable=status in (408, 409) or status >= 500,
            outage=status >= 500,
            retry_after=after,
            context_overflow=overflow,
            rejected=rejected,
        )


def without_credentials(url: str) -> str:
    """The address without user name, password, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def cause(exc: BaseException) -> str:  # noqa: PLR0911  one case an error
    """Why a connection failed, in a few words that do not contain the address."""
    for inner in _chain(exc):
        match inner:
            case TimeoutError() | httpx2.TimeoutException():
                return "no answer in time"
            case ServerDisconnectedError():
                return "it closed the connection without an answer"
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
            case _:
                continue
    innermost = list(_chain(exc))[-1]
    return (str(innermost).splitlines() or [""])[0][:_TEXT_LIMIT_CHARS] or type(innermost).__name__


def _never_connected(exc: BaseException) -> bool:
    return any(isinstance(e, httpx2.ConnectTimeout | httpx2.PoolTimeout) for e in _chain(exc))


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The error and its causes, outermost first."""
    found: BaseException | None = exc
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds to wait according to `retry-after-ms` or `retry-after` (a number or a date); 0 if absent or unreadable.

    `now` is in seconds since 1970. The result is unchecked: it may be negative, infinite or NaN.
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
    """The value if it is a JSON object, else an empty object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
