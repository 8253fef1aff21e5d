"""Three kinds of failure that must not look alike, each with an event, a metric and a span status of its own.

- `bug`: an exception that no rule expects. A fault of Holdfast itself: the log has a traceback.
- `message_lost`: a message of the bus, or the answer to one, did not arrive. Everything stored is there; it is late.
- `sandbox_lost`: a sandbox died with calls of its session. One failed tool call for each; the session goes on.

A line of the log about one of them has its kind in the field `failure`, which each function returns for it. The
operator's guide (docs/observability.md) says what to do.
"""

from typing import Final, Literal

from opentelemetry import trace
from opentelemetry.trace import StatusCode

from holdfast.process import metering, metrics

Failure = Literal["bug", "message_lost", "sandbox_lost"]

BUG: Final = "bug"
MESSAGE_LOST: Final = "message_lost"
SANDBOX_LOST: Final = "sandbox_lost"

_METRICS: Final = {
    BUG: metrics.BUGS,
    MESSAGE_LOST: metrics.LOST_MESSAGES,
    SANDBOX_LOST: metrics.LOST_SANDBOXES,
}


def bug(where: metrics.BugPlace) -> Failure:
    """Count an exception that no rule expects; `where` is a place in the code, not a text of the exception."""
    return _happened(BUG, where)


def message_lost(where: metrics.LostMessage) -> Failure:
    """Count a message that did not arrive; `where` names the kind of message."""
    return _happened(MESSAGE_LOST, where)


def sandbox_lost(where: str) -> Failure:
    """Count a sandbox that was lost with calls of its session; `where` names the hand."""
    return _happened(SANDBOX_LOST, where)


def _happened(failure: Failure, where: str) -> Failure:
    metering.add(_METRICS[failure], 1, {metrics.WHERE: where})
    span = trace.get_current_span()
    if not span.is_recording():
        return failure
    span.add_event(f"holdfast.{failure}", {metrics.WHERE: where})
    if failure != MESSAGE_LOST:  # a message that was lost is sent or read again: what it delays does not fail
        span.set_attribute(metrics.ERROR, f"holdfast.{failure}")
        span.set_status(StatusCode.ERROR, f"holdfast.{failure}")
    return failure
