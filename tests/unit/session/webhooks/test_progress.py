"""How far an endpoint is, after each kind of outcome."""

from msgspec.structs import replace

from holdfast.bus.public_events import LogPlace, PublicEnd, PublicState
from holdfast.process.backoff import Backoff
from holdfast.session.webhooks.hooks import Hook
from holdfast.session.webhooks.progress import (
    MAX_RECENT,
    Outcome,
    Progress,
    begin,
    delivered,
    failed,
    on_stream,
    skipped,
)

BACKOFF = Backoff(first_s=1, longest_s=8, jitter=0)
STATE = PublicState("t0", 10)
START = begin(STATE, PublicEnd(10, "e", LogPlace(5, 1), "pub_1"))


def hook(commit: int, index: int = 0, part: int = 0, *, seq: int = 11, epoch: str = "e") -> Hook:
    return Hook(
        seq=seq, epoch=epoch, place=LogPlace(commit, index), part=part, id=f"whe_{commit}_{index}_{part}", type="t",
        session="s", created_at="",
    )  # fmt: skip


def fail(progress: Progress, one: Hook, now: int, *, configured_at: int = 1, retry_after_s: float = 0) -> Progress:
    outcome = Outcome(status=500, error="no", retry_after_s=retry_after_s)
    return failed(progress, one, outcome, now=now, configured_at=configured_at, backoff=BACKOFF, chance=0)


def test_only_what_is_behind_is_new() -> None:
    assert not START.is_new(hook(5, 1))
    assert not START.is_new(hook(5, 1, 1))
    assert START.is_new(hook(5, 2))
    assert START.is_new(hook(1, epoch="other"))
    after = delivered(START, hook(6, 0, 0), Outcome(status=200), 1)
    assert not after.is_new(hook(6, 0, 0))
    assert after.is_new(hook(6, 0, 1))
    assert after.seq == 10, "the second webhook event of that public event has to be read again"


def test_a_stream_made_anew_is_read_from_its_start_and_nothing_is_sent_twice() -> None:
    after = delivered(START, hook(6), Outcome(status=200), 1)
    again = on_stream(after, PublicState("t1", 3))
    assert again.seq == 0
    assert not again.is_new(hook(6, seq=2))
    assert again.is_new(hook(7, seq=3))
    assert on_stream(after, STATE) is after


def test_pauses_double_and_the_endpoint_may_ask_for_a_longer_one() -> None:
    progress, pauses = START, list[float]()
    for attempt in range(1, 6):
        progress = fail(progress, hook(6), now=attempt * 100_000_000)
        assert progress.failing
        pauses.append((progress.failing.next_at - attempt * 100_000_000) / 1e6)
    assert pauses == [1, 2, 4, 8, 8]
    assert progress.failing
    assert (progress.failing.attempts, progress.failing.since) == (5, 100_000_000)
    asked = fail(START, hook(6), now=0, retry_after_s=5).failing
    assert asked
    assert asked.next_at == 5_000_000
    bounded = fail(START, hook(6), now=0, retry_after_s=99_999).failing
    assert bounded
    assert bounded.next_at == 8_000_000


def test_failing_goes_on_with_another_event_and_begins_anew_after_a_change_or_a_success() -> None:
    first = fail(START, hook(6), now=1)
    other = fail(first, hook(7), now=2).failing
    assert other
    assert (other.since, other.attempts) == (1, 1), "the session of the first event was deleted and erased"
    changed = fail(first, hook(6), now=3, configured_at=2).failing
    assert changed
    assert (changed.since, changed.attempts) == (3, 1)
    assert delivered(first, hook(6), Outcome(status=200), 4).failing is None
    assert skipped(first, hook(6), 4).failing is None


def test_the_newest_deliveries_are_kept_each_event_once() -> None:
    progress = fail(fail(START, hook(6), now=1), hook(6), now=2)
    progress = delivered(progress, hook(6), Outcome(status=200), 3)
    assert [(one.id, one.attempts, one.state) for one in progress.recent] == [("whe_6_0_0", 3, "delivered")]
    for commit in range(7, 7 + MAX_RECENT):
        progress = delivered(progress, hook(commit), Outcome(status=200), commit)
    assert len(progress.recent) == MAX_RECENT
    assert progress.recent[0].id == "whe_7_0_0"
    assert replace(progress, recent=[]).commit == 6 + MAX_RECENT
