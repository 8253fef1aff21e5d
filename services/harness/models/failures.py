"""Makes a `ModelFailure` that names the address and the cause, for every kind of client that speaks the Messages API.

Which errors are worth a retry is decided here and nowhere else, so it is the same for each kind. The message is shown
to the user: it never holds the API key, nor a user name or password of the address.
"""

import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec

from holdfast.harness.models.failure_causes import cause, chain, request_id, retry_after, without_credentials
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.json_objects import decode_object
from holdfast.harness.models.response_reader import StreamError
from holdfast.harness.models.scrub import ERROR_READ_CHARS, Scrubber

FAILED: Final = "model_request_failed_error"
OVERLOADED: Final = "model_overloaded_error"
RATE_LIMITED: Final = "model_rate_limited_error"
BILLING: Final = "billing_error"

_OVERLOADED_STATUS: Final = 529

_CONTEXT_OVERFLOW: Final = ("too long", "context limit", "context length")
"""Phrases in the error of an endpoint when a request is larger than the model's context window."""

_NO_CREDIT: Final = ("credit balance", "spend_limit", "ramp_limit", "billing")
"""Phrases in the error message or error code of an endpoint when the account has no credit."""

_BUSY: Final = {
    "overloaded_error": OVERLOADED,
    "rate_limit_error": RATE_LIMITED,
    "serviceUnavailableException": OVERLOADED,
    "throttlingException": RATE_LIMITED,
}
"""Types of an error event in the middle of a stream that mean that the model is busy; the last two are Bedrock's."""

MESSAGE_LIMIT_CHARS: Final = 2000
"""Length to which the whole message of a failure is cut; the address of the endpoint is in it too."""

REQUEST_ID_LIMIT_CHARS: Final = 128

_HOLDFAST: Final = "holdfast"
"""Value of the `server` header of Holdfast's own API."""


class ErrorStatus(Exception):
    """The endpoint answered with an HTTP status that is no success. `content`: the body, or its beginning."""

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.headers = headers
        self.content = content


class Progress(msgspec.Struct):
    """How far a request has come."""

    answered: bool = False
    """The headers of a success have arrived."""
    began: bool = False
    """Part of the response has arrived."""
    request: str = ""
    """The id that the endpoint gave the request; empty if it gave none."""


class Failures:
    """Makes the failures of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._has_key = bool(endpoint.key)
        self._scrubber = Scrubber(endpoint.key)
        self._silence = endpoint.silence
        self._address = without_credentials(endpoint.base_url)
        self._model = f"The model at {self._address}"

    def _failure(self, kind: str, text: str, **fields: Any) -> ModelFailure:
        """The failure with this text, without the API key."""
        return ModelFailure(kind, self._scrubber.error(text, MESSAGE_LIMIT_CHARS), **fields)

    def request_id(self, headers: Mapping[str, str]) -> str:
        """The id of the request that the headers name; empty if they name none, or the key in its place."""
        return self._scrubber.word(request_id(headers), REQUEST_ID_LIMIT_CHARS)

    def silent(self, progress: Progress) -> ModelFailure:
        """No byte came for the endpoint's `silence`."""
        text = f"{self._model} sent nothing for {self._silence:g} s{_named(progress.request)}"
        return self._failure(FAILED, text, retryable=True, outage=not progress.began)

    def stream_error(self, exc: StreamError, progress: Progress) -> ModelFailure:
        """The stream had an error event."""
        kind = _BUSY.get(exc.kind, FAILED)
        text = f"{self._model} broke off: {self._scrubber.error(str(exc))}{_named(progress.request)}"
        return self._failure(kind, text, retryable=True, outage=not progress.began or exc.kind in _BUSY)

    def unreachable(self, exc: Exception) -> ModelFailure:
        """There was no answer. Failed TLS is no outage: it needs a hand, so retries of it are counted."""
        text = f"{self._model} could not be reached: {self._scrubber.error(cause(exc))}"
        broken = any(isinstance(e, ssl.SSLError) for e in chain(exc))
        return self._failure(FAILED, text, retryable=True, outage=not broken)

    def broke_off(self, exc: Exception, progress: Progress) -> ModelFailure:
        """The connection was lost in the middle of the answer."""
        told = self._scrubber.error(cause(exc))
        text = f"The answer of the model at {self._address} broke off: {told}{_named(progress.request)}"
        return self._failure(FAILED, text, retryable=True, outage=not progress.began)

    def unusable(self, exc: Exception, progress: Progress) -> ModelFailure:
        """What came is no answer of the Messages API."""
        text = f"The answer of the model at {self._address} could not be used: {self._scrubber.error(str(exc))}"
        return self._failure(FAILED, f"{text}{_named(progress.request)}", retryable=True)

    def no_credentials(self, exc: Exception) -> ModelFailure:
        """The client found nothing to authenticate with, or could not renew it."""
        told = self._scrubber.error(str(exc)) or type(exc).__name__
        return self._failure(FAILED, f"No request can be made to the model at {self._address}: {told}", retryable=True)

    def status(self, answer: ErrorStatus) -> ModelFailure:
        """The endpoint answered with an error status, or with a redirect."""
        status, headers = answer.status, answer.headers
        if problem := self._wrong_address(answer):
            return self._failure(FAILED, problem, retryable=False)
        decoded = _object(_decoded(answer.content))
        error = _object(decoded.get("error"))
        named = _named(self.request_id(headers) or self._scrubber.error(str(decoded.get("request_id") or "")))
        told = self._scrubber.error(str(error.get("message") or decoded.get("message") or _text(answer)))
        message = f"{self._model} answered {status}: {told}"
        code = str(_object(error.get("details")).get("error_code") or "")
        if status == 402 or (status in (400, 403, 429) and any(w in message or w in code for w in _NO_CREDIT)):
            return self._failure(BILLING, message + named, retryable=False)
        after = retry_after(headers, time.time())
        if status == 429:
            return self._failure(RATE_LIMITED, message + named, retryable=True, retry_after=after, outage=True)
        if status == _OVERLOADED_STATUS or error.get("type") == "overloaded_error":
            return self._failure(OVERLOADED, message + named, retryable=True, retry_after=after, outage=True)
        rejected = status in (400, 413, 422)
        return self._failure(
            FAILED,
            message + named,
            retryable=status in (408, 409) or status >= 500,
            outage=status >= 500,
            retry_after=after,
            context_overflow=status == 413 or (rejected and any(words in message for words in _CONTEXT_OVERFLOW)),
            rejected=rejected,
        )

    def _wrong_address(self, answer: ErrorStatus) -> str:
        """What is wrong with the settings if the answer shows that; else empty."""
        if answer.headers.get("server") == _HOLDFAST:
            return (
                f"The model address {self._address} points to Holdfast itself. Set HOLDFAST_MODEL_BASE_URL to the "
                "address of a model: a server of the Messages API"
            )
        if 300 <= answer.status < 400:  # followed, the request would give key and conversation to another address
            target = self._scrubber.error(without_credentials(answer.headers.get("location", ""))) or "nowhere"
            return (
                f"{self._model} answered {answer.status}: it redirects to {target}. Redirects are not followed; "
                "set HOLDFAST_MODEL_BASE_URL to the address itself"
            )
        if answer.status == 401 and not self._has_key:
            return (
                f"No API key is set for the model at {self._address}, and it asks for one. Set HOLDFAST_MODEL_API_KEY "
                "for `holdfast up`, or HOLDFAST_MODEL_KEY_FILE for a harness that is started by itself"
            )
        return ""


def _named(request: str) -> str:
    return f" (request {request})" if request else ""


def _decoded(content: bytes) -> Any:
    try:
        return decode_object(content)
    except ValueError:
        return None


def _text(answer: ErrorStatus) -> str:
    """The body in one line; the name of the status if it is empty."""
    text = " ".join(answer.content[:ERROR_READ_CHARS].decode("utf-8", "replace").split())
    if text:
        return text
    try:
        return HTTPStatus(answer.status).phrase
    except ValueError:
        return "no text"


def _object(value: object) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
