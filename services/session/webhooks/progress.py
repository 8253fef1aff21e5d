"""How far the webhook events of a cell are delivered to one endpoint: a record in the bucket `webhooks`. Pure.

Its key is `<tenant>.<webhook>.<cell>`. It is written after each attempt, so a process that dies repeats one attempt at
most. Times are microseconds since 1970.
"""

from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from holdfast.bus.public_events import LogPlace, PublicEnd, PublicState
from holdfast.process.backoff import Backoff
from holdfast.session.webhooks.hooks import Hook

MAX_RECENT: Final = 50
"""Deliveries that are kept for the list of deliveries, the newest."""

ALL_PARTS: Final = 1_000
"""Behind every webhook event of a public event."""

SECOND_US: Final = 1_000_000


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one request."""

    status: int = 0
    """HTTP status of the answer; 0: there was none."""
    error: str = ""
    """Why it failed, in a few words of ours; empty: the endpoint has taken the event."""
    duration_ms: int = 0
    retry_after_s: float = 0.0
    """What the endpoint asks for."""
    gone: bool = False
    """The endpoint wants no further event: 410."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event and its last attempt, which began at `at`."""

    id: str
    type: str
    session: str
    state: Literal["delivered", "failing", "skipped"]
    attempts: int
    at: int
    status: int = 0
    error: str = ""
    duration_ms: int = 0


class Failing(msgspec.Struct, frozen=True, kw_only=True):
    """The event that the endpoint has not taken yet; it is tried again at `next_at`."""

    id: str
    type: str
    attempts: int
    since: int
    next_at: int
    error: str
    configured_at: int
    """That of the webhook at the time: a change of the webhook is a reason to try at once, and to begin anew."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to `commit`, `index` and `part` is delivered or left out; `seq` is behind which to read on."""

    v: int = 1
    created: str
    """The stream that `seq` belongs to, by its time of creation."""
    seq: int
    epoch: str
    commit: int
    index: int
    part: int
    failing: Failing | None = None
    recent: list[Delivery] = []
    """The oldest first."""

    def is_new(self, hook: Hook) -> bool:
        """Whether the event is behind what is delivered. One that was published twice is not."""
        if hook.epoch != self.epoch:
            return True
        return (hook.place, hook.part) > (LogPlace(self.commit, self.index), self.part)


def begin(state: PublicState, end: PublicEnd) -> Progress:
    """Of an endpoint that gets what is published behind the end of the stream."""
    place = end.place
    return Progress(
        created=state.created, seq=end.seq, epoch=end.epoch, commit=place.seq, index=place.index, part=ALL_PARTS
    )


def on_stream(progress: Progress, state: PublicState) -> Progress:
    """The same for the stream as it is: one that was made anew is read from its start, without what was delivered."""
    if progress.created == state.created:
        return progress
    return replace(progress, created=state.created, seq=0)


def passed(progress: Progress, hook: Hook) -> Progress:
    """Behind an event that the endpoint is not told of."""
    return replace(
        progress, seq=hook.seq - 1, epoch=hook.epoch, commit=hook.place.seq, index=hook.place.index, part=hook.part
    )


def delivered(progress: Progress, hook: Hook, outcome: Outcome, now: int) -> Progress:
    """Behind an event that the endpoint has taken."""
    delivery = _delivery(hook, "delivered", _attempts(progress, hook) + 1, outcome, now)
    return _noted(replace(passed(progress, hook), failing=None), delivery)


def skipped(progress: Progress, hook: Hook, now: int) -> Progress:
    """Behind an event that is left out by request."""
    delivery = _delivery(hook, "skipped", _attempts(progress, hook), Outcome(), now)
    return _noted(replace(passed(progress, hook), failing=None), delivery)


def failed(
    progress: Progress, hook: Hook, outcome: Outcome, *, now: int, configured_at: int, backoff: Backoff, chance: float
) -> Progress:
    """Still before the event; it is tried again after a pause that grows with each failure.

    The endpoint fails since the first failure after which it has taken nothing, whatever event that was of.
    """
    before = progress.failing if progress.failing and progress.failing.configured_at == configured_at else None
    attempts = before.attempts + 1 if before and before.id == hook.id else 1
    pause_s = max(backoff.pause_s(attempts, chance), min(outcome.retry_after_s, backoff.longest_s))
    failing = Failing(
        id=hook.id,
        type=hook.type,
        attempts=attempts,
        since=before.since if before else now,
        next_at=now + int(pause_s * SECOND_US),
        error=outcome.error,
        configured_at=configured_at,
    )
    return _noted(replace(progress, failing=failing), _delivery(hook, "failing", attempts, outcome, now))


def _attempts(progress: Progress, hook: Hook) -> int:
    return progress.failing.attempts if progress.failing and progress.failing.id == hook.id else 0


def _delivery(
    hook: Hook, state: Literal["delivered", "failing", "skipped"], attempts: int, outcome: Outcome, now: int
) -> Delivery:
    return Delivery(
        id=hook.id, type=hook.type, session=hook.session, state=state, attempts=attempts, at=now,
        status=outcome.status, error=outcome.error, duration_ms=outcome.duration_ms,
    )  # fmt: skip


def _noted(progress: Progress, delivery: Delivery) -> Progress:
    """With the delivery among the recent ones, in place of an earlier attempt."""
    others = [one for one in progress.recent if one.id != delivery.id]
    return replace(progress, recent=[*others, delivery][-MAX_RECENT:])
