"""Every failure of the HTTP edge: an `ApiError` becomes a status and the error envelope of the API. Pure.

    {"type": "error", "error": {"type": …, "message": …, "details": …}, "request_id": "req_…"}

The SDK repeats a request after 408, 409, 429 and every 5xx unless the answer says `x-should-retry: false`. A stale
version or a taken name is refused again, so 409 and 412 always say so.

A part of the API that this version lacks is refused with `<things> are not available in this version` and
`details.error_code` `not_available`: 400 for a field of a request, 404 for a path. It is not 501, which the SDK would
repeat and programs would take for an outage.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.bus.errors import Absent, BusError, Conflict, Damaged, InboxFull, Newer, Refused, StorageFull, TooLarge

NOT_AVAILABLE: Final = "not_available"
"""`details.error_code` of a request for a part of the API that this version lacks."""

RETRY_AFTER_S: Final = 1
"""The `retry-after` header of 429 and 503."""


INBOX_FULL_RETRY_AFTER_S: Final = 5
"""The `retry-after` header of 429 for a full inbox: it empties when a tool call or a response has ended."""

TURNS_RETRY_AFTER_S: Final = 5
"""The `retry-after` header of 429 for too many turns: each lasts for seconds at the least."""


class ApiError(Exception):
    """`message` is shown to the caller: it names the field and the rule, and never repeats a secret."""

    def __init__(self, status: int, kind: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.details = details
        self.headers: dict[str, str] = {}
        if status in (409, 412):
            self.headers["x-should-retry"] = "false"
        if status in (429, 503):
            self.headers["retry-after"] = str(RETRY_AFTER_S)


def invalid(message: str, *, code: str = "") -> ApiError:
    """400: the request is wrong and stays wrong; `code` is a documented `details.error_code`."""
    return ApiError(400, "invalid_request_error", message, {"error_code": code} if code else None)


def not_available(clause: str) -> ApiError:
    """400: a field for a part of the API that this version lacks. `clause` begins the text: `skills: skills are`.

    The alternative, to accept the field and ignore it, would mislead the caller.
    """
    return invalid(f"{clause} not available in this version", code=NOT_AVAILABLE)


def path_not_available(things: str) -> ApiError:
    """404: the path belongs to a part of the API that this version lacks. `things`: its name in the plural."""
    text = f"{things} are not available in this version"
    return ApiError(404, "not_found_error", text, {"error_code": NOT_AVAILABLE})


def unauthenticated() -> ApiError:
    """401: one answer for a missing, a wrong and a revoked key, so that none can be told from another."""
    return ApiError(401, "authentication_error", "invalid or missing API key")


def forbidden(message: str) -> ApiError:
    """403: the key is valid and may not do this. `message` says what its role lacks."""
    return ApiError(403, "permission_error", message)


def not_found(kind: str, *, code: str = "") -> ApiError:
    """404: `kind` of object, such as `agent`; `code` as in `invalid`."""
    return ApiError(404, "not_found_error", f"{kind} not found", {"error_code": code} if code else None)


def file_expired() -> ApiError:
    """404: there is the file, and its bytes are gone."""
    text = "the file has expired, and its bytes are gone for good"
    return ApiError(404, "not_found_error", text, {"error_code": "file_expired"})


def cell_not_served(cell: str) -> ApiError:
    """404: the id names a cell that this service does not serve, such as one that was archived.

    It says nothing about whether there is such a session: the cell is part of the id that the caller gave.
    """
    return ApiError(404, "not_found_error", f"session not found: its id is of cell {cell}, which is not served here")


def method_not_allowed(allowed: list[str]) -> ApiError:
    error = ApiError(405, "invalid_request_error", f"method not allowed; allowed: {', '.join(allowed)}")
    error.headers["allow"] = ", ".join(allowed)
    return error


def too_slow() -> ApiError:
    """408: the body did not come in time."""
    return ApiError(408, "timeout_error", "the request body took too long", {"error_code": "request_body_timeout"})


def host_not_served(name: str) -> ApiError:
    """421: the `Host` of the request is no name of this service."""
    text = f"{name[:100]!r} is not a name of this service; if it should be, add it to HOLDFAST_HOSTS of the service"
    return ApiError(421, "invalid_request_error", text, {"error_code": "host_not_served"})


def conflict(message: str, details: dict[str, Any] | None = None) -> ApiError:
    """409: a stale version, a name that is taken, or too many writers at once. `details` may name the other object."""
    return ApiError(409, "invalid_request_error", message, details)


def too_large(limit: int) -> ApiError:
    """413: `limit` in bytes."""
    text = f"the request body is larger than {limit} bytes"
    return ApiError(413, "request_too_large", text, {"error_code": "request_body_too_large"})


def busy() -> ApiError:
    """429: the bodies of other requests use up the budget; the SDK tries again by itself."""
    return ApiError(429, "rate_limit_error", "too many large requests at once; send it again in a moment")


def too_many_uploads(limit: int) -> ApiError:
    """429: as many files are being uploaded as may be; the SDK tries again by itself."""
    return ApiError(429, "rate_limit_error", f"{limit} files are being uploaded, and no more may at once; try again")


def quota_exceeded(message: str) -> ApiError:
    """400: the tenant has no room for the file until others are deleted."""
    return invalid(f"{message}; delete files that are not needed any more", code="storage_quota_exceeded")


def busy_with_unknown() -> ApiError:
    """429: too many requests without a key name things that take none."""
    return ApiError(
        429, "rate_limit_error", "too many requests that cannot be authenticated; send it again in a moment"
    )


def too_many_streams(limit: int) -> ApiError:
    """429: as many event streams are open as may be; the SDK tries again by itself a few times."""
    text = f"{limit} event streams are open, and no more are served here; close one, or open it again in a moment"
    return ApiError(429, "rate_limit_error", text, {"error_code": "too_many_streams"})


def inbox_full() -> ApiError:
    """429: the session has not taken what was sent before; the SDK tries again by itself a few times."""
    text = "too many events of this session wait to be taken; send it again once the session has taken some"
    error = ApiError(429, "rate_limit_error", text, {"error_code": "inbox_full"})
    error.headers["retry-after"] = str(INBOX_FULL_RETRY_AFTER_S)
    return error


def too_many_requests(whose: str, wait_s: int) -> ApiError:
    """429: more requests a second than the operator allows `whose`; `wait_s` is the `retry-after`, which SDKs obey."""
    text = f"{whose} sends more requests a second than this service allows; send it again in {wait_s} s"
    error = ApiError(429, "rate_limit_error", text, {"error_code": "too_many_requests"})
    error.headers["retry-after"] = str(wait_s)
    return error


def too_many_turns(most: int) -> ApiError:
    """429: as many turns of the tenant run as the operator allows; the SDK tries again by itself a few times."""
    text = f"{most} sessions of this tenant run, and no more may at once; send it again when one has ended its turn"
    error = ApiError(429, "rate_limit_error", text, {"error_code": "too_many_turns"})
    error.headers["retry-after"] = str(TURNS_RETRY_AFTER_S)
    return error


def internal() -> ApiError:
    """500 without any detail: the cause is in the log, under the same request id."""
    return ApiError(500, "api_error", "internal error")


def unavailable(message: str = "the service is not available at the moment") -> ApiError:
    """503: the bus or a service behind the edge did not answer; the SDK tries again by itself."""
    return ApiError(503, "api_error", message)


def damaged() -> ApiError:
    """500: what is stored cannot be read. It stays so, and the SDK is told not to try again."""
    error = ApiError(500, "api_error", "a part of the object is missing from the store or damaged")
    error.headers["x-should-retry"] = "false"
    return error


def storage_full(cause: str) -> ApiError:
    """507: nothing can be stored until an operator makes room, so the SDK is told not to try again."""
    error = ApiError(507, "api_error", f"{cause}; nothing was stored. Make room, then send it again")
    error.headers["x-should-retry"] = "false"
    return error


def of_bus(error: BusError) -> ApiError:  # noqa: PLR0911  one case an error
    """The answer for a failure of the bus that no handler has caught."""
    match error:
        case Conflict():
            return conflict("the object was changed at the same time; read it again")
        case Refused():
            return invalid(str(error))
        case Absent():
            return not_found("object")
        case Newer():
            return unavailable("the object was written by a newer version of the service; an upgrade is under way")
        case Damaged():
            return damaged()
        case TooLarge():
            return ApiError(413, "request_too_large", "the object is too large to be stored")
        case InboxFull():
            return inbox_full()
        case StorageFull():
            return storage_full("the event log has no room left")
        case _:
            return unavailable()


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """The kind of error, and a sentence for people. `details` has facts that programs may read."""

    type: str
    message: str
    details: dict[str, Any] | UnsetType = UNSET


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    type: Literal["error"]
    error: ErrorDetail
    request_id: str


def envelope(error: ApiError, request_id: str) -> ErrorResponse:
    """The body of the answer to a request that ended in `error`."""
    detail = ErrorDetail(type=error.kind, message=error.message, details=error.details or UNSET)
    return ErrorResponse(type="error", error=detail, request_id=request_id)
