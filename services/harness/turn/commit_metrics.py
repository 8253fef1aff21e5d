"""What a commit of this harness says for metrics: turns that began or ended, sandboxes that were lost.

It is read off the commit once that is stored, so everything is counted once, by the harness that appended it. A harness
that dies between the append and this loses what it would have counted.
"""

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit
from holdfast.bus.head import Head
from holdfast.bus.ids import Key, time_of
from holdfast.harness.turn.turn_span import close_turn
from holdfast.process import failures, metering, metrics

log = structlog.get_logger()

FAILED_STOPS = ("retries_exhausted",)
"""Stop reasons of a turn that did not come to its end."""


def note_commit(key: Key, before: Head, made: Commit) -> None:
    """Record a stored commit, which follows `before`."""
    _note_takeover(key, before, made)
    _note_lost_hands(key, before, made)
    if metering.is_on():
        _record_turn(before, made)


def note_given_up(key: Key, before: Head, made: Commit, *, trigger: int, parked: int) -> None:
    """Record that a turn was given up: one harness after another has died of it, so the fault is ours."""
    note_commit(key, before, made)
    failure = failures.bug("turn")
    log.warning("turn.closed_after_takeovers", session=key.session, trigger=trigger, parked=parked, failure=failure)
    close_turn(before, made.head)


def _note_takeover(key: Key, before: Head, made: Commit) -> None:
    """A claim that follows another one took the session from it."""
    earlier, claim = before.claim, made.head.claim
    if earlier is not None and claim is not None and earlier.id != claim.id:
        metering.add(metrics.TAKEOVERS)
        log.warning(
            "claim.taken_over",
            session=key.session,
            earlier=earlier.by,
            trigger=claim.trigger,
            takeovers=claim.failures,
            still_s=round((made.at - before.updated) / 1e6, 3),
        )


def _note_lost_hands(key: Key, before: Head, made: Commit) -> None:
    """A hand that ended while no call was bound to it is missed by nobody: it is not a failure."""
    for event in made.events:
        if not isinstance(event, ev.HandLost):
            continue
        still_open = {call.id for call in made.head.calls}
        lost = [c.id for c in before.calls if c.generation == event.generation and c.id not in still_open]
        if lost:
            log.warning(
                "sandbox.lost",
                session=key.session,
                hand=event.hand,
                generation=event.generation,
                reason=event.reason,
                calls=lost,
                failure=failures.sandbox_lost(event.hand),
            )


def _record_turn(before: Head, made: Commit) -> None:
    for event in made.events:
        match event:
            case ev.SessionStatusRunning() if not before.running_since:
                asked = next((time_of(e.id) for e in made.events if isinstance(e, ev.ClientEvent)), None)
                if asked is not None:
                    metering.record(metrics.TURN_QUEUE, (made.at - asked) / 1e6)
            case ev.SessionStatusIdle(stop_reason=stop) if before.running_since:
                labels = {metrics.STOP: stop.type}
                if stop.type in FAILED_STOPS:
                    labels[metrics.ERROR] = stop.type
                metering.record(metrics.TURN_DURATION, (made.at - before.running_since) / 1e6, labels)
            case _:
                pass
