"""Whether, when and how visibly a failed model request is made again. Pure: a decision from the head.

A model that is away, overloaded or limits the rate (`ModelFailure.outage`) is asked again for as long as the settings
say. Of such an outage the log tells the first failures and later ones at growing intervals; the others leave only the
ends of their requests. An answer that broke off or could not be used costs tokens each time, so it has a limit of its
own, as every failure has with a `patience` of 0.
"""

from typing import Any, Final

import msgspec

from holdfast.bus.head import Thread
from holdfast.harness.models import ModelFailure
from holdfast.harness.turn.decide import error

RETRY_AFTER_LIMIT_S: Final = 600.0
"""Longest wait that an endpoint can ask for. It is below the 15 minutes after which a claim counts as stale."""

TOLD_INTERVAL_LIMIT_S: Final = 600.0
"""Seconds of an outage after which a failure is told again, at the latest."""

TOLD_SHARE: Final = 0.25
"""A failure is told when this fraction of the outage's length has passed since the last one that was told."""

_DOUBLINGS: Final = 30


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """See the settings of the harness; times in seconds."""

    attempts: int
    patience: float
    first: float
    most: float


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The request is made again at `at` (microseconds, Unix). `told`: the failure gets events of its own."""

    at: int
    told: bool
    broke_off: bool
    error: dict[str, Any]


def plan(state: Thread, failure: ModelFailure, settings: RetrySettings, *, now: int, jitter: float) -> Retry | None:
    """The next attempt after this failure; None: the turn ends. `now` in microseconds, `jitter` at most 1."""
    if not failure.retryable or _spent(state, failure, settings, now):
        return None
    number = state.errors + 1
    wait = min(settings.first * 2.0 ** min(number - 1, _DOUBLINGS), settings.most) * jitter
    asked = min(failure.retry_after, RETRY_AFTER_LIMIT_S) if failure.retry_after > 0 else 0.0
    wait = max(wait, asked)
    text = f"{str(failure).rstrip('.')} (attempt {number}, next in {spoken(wait)})"
    return Retry(
        at=now + int(wait * 1e6),
        told=_is_told(state, failure, now),
        broke_off=not failure.outage,
        error=error(failure.kind, text, "retrying"),
    )


def given_up(state: Thread, failure: ModelFailure, *, now: int) -> dict[str, Any]:
    """The `error` with which the turn ends; it says how often the model was asked."""
    number = state.errors + 1
    text = str(failure).rstrip(".")
    if number == 1:
        return error(failure.kind, f"{text} (not tried again)", "exhausted")
    since = spoken((now - state.failing_since) / 1e6)
    return error(failure.kind, f"{text} (given up at attempt {number}, after {since})", "exhausted")


def spoken(seconds: float) -> str:
    """A duration for people, two units at most: `0.3 s`, `4 s`, `1 min 30 s`, `6 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, unit, part, name in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"


def _spent(state: Thread, failure: ModelFailure, settings: RetrySettings, now: int) -> bool:
    if not failure.outage and state.broken + 1 >= settings.attempts:
        return True
    failing_for = (now - state.failing_since) / 1e6 if state.failing_since else 0.0
    return state.errors + 1 >= settings.attempts and failing_for >= settings.patience


def _is_told(state: Thread, failure: ModelFailure, now: int) -> bool:
    if not failure.outage or state.status != "rescheduling":
        return True
    interval = min((now - state.failing_since) * TOLD_SHARE, TOLD_INTERVAL_LIMIT_S * 1e6)
    return now - state.told_at >= interval
