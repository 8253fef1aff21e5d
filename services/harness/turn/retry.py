"""Decides whether and when a failed model request is repeated, and whether the log tells the failure. Pure.

During an outage (`ModelFailure.outage`: the model is unreachable, overloaded or limits the rate) requests are repeated
for as long as the settings say. The log tells the first failures of an outage and later ones at growing intervals; the
others leave only the end of their request. A response that broke off or could not be used costs tokens each time, so
the number of attempts alone limits it. With `patience_s` 0 it limits every failure.
"""

from typing import Any, Final

import msgspec

from holdfast.bus.head import Thread
from holdfast.harness.models.interface import ModelFailure
from holdfast.harness.turn.decide import error
from holdfast.process.backoff import Backoff

TOLD_INTERVAL_LIMIT_S: Final = 600.0
"""Longest time in an outage during which no failure is told."""

TOLD_INTERVAL_FRACTION: Final = 0.25
"""A failure is told if this fraction of the outage's duration has passed since the last one that was told."""


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """`model_attempts`, `model_patience`, and the three that begin with `retry_`, of the harness's settings."""

    attempts: int
    patience_s: float
    backoff: Backoff
    retry_after_most_s: float


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """A failed request that is repeated."""

    at: int
    """When it is repeated (microseconds, Unix)."""
    told: bool
    """True if the failure gets events of its own."""
    broke_off: bool
    """True if the response had begun or could not be used."""
    error: dict[str, Any]
    """The `error` of its `session.error` event."""


def plan(state: Thread, failure: ModelFailure, settings: RetrySettings, *, now: int, chance: float) -> Retry | None:
    """The next attempt after this failure; None if the turn ends.

    `now` is in microseconds. `chance` is the random number, from 0 to 1, that `Backoff.pause_s` takes.
    """
    if not failure.retryable or _spent(state, failure, settings, now):
        return None
    number = state.errors + 1
    asked_s = min(failure.retry_after, settings.retry_after_most_s)
    delay_s = max(settings.backoff.pause_s(number, chance), asked_s)
    text = f"{str(failure).rstrip('.')} (attempt {number}, next in {duration_text(delay_s)})"
    return Retry(
        at=now + int(delay_s * 1e6),
        told=_is_told(state, failure, now),
        broke_off=not failure.outage,
        error=error(failure.kind, text, "retrying"),
    )


def given_up(state: Thread, failure: ModelFailure, *, now: int) -> dict[str, Any]:
    """The `error` with which the turn ends. Its text gives the number of attempts."""
    number = state.errors + 1
    text = str(failure).rstrip(".")
    if number == 1:
        return error(failure.kind, f"{text} (not tried again)", "exhausted")
    since = duration_text((now - state.failing_since) / 1e6)
    return error(failure.kind, f"{text} (given up at attempt {number}, after {since})", "exhausted")


def duration_text(seconds: float) -> str:
    """A duration as a text with at most two units: `0.3 s`, `4 s`, `1 min 30 s`, `6 h`."""
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
    return state.errors + 1 >= settings.attempts and failing_for >= settings.patience_s


def _is_told(state: Thread, failure: ModelFailure, now: int) -> bool:
    if not failure.outage or state.status != "rescheduling":
        return True
    interval = min((now - state.failing_since) * TOLD_INTERVAL_FRACTION, TOLD_INTERVAL_LIMIT_S * 1e6)
    return now - state.told_at >= interval
