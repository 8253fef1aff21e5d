"""Whether, when and how visibly a failed model request is made again."""

import pytest

from holdfast.bus import events as ev
from holdfast.bus.head import PRIMARY_THREAD, Head, advance
from holdfast.bus.ids import new_id
from holdfast.harness.models.interface import ModelFailure
from holdfast.harness.turn import idle, retry
from holdfast.harness.turn.decide import CallModel, Limits, Sleep, decide
from holdfast.harness.turn.retry import RetrySettings, duration_text, plan
from holdfast.process.backoff import Backoff

SECOND = 1_000_000
HOUR = 3600 * SECOND
START = 1_700_000_000 * SECOND

PATIENT = RetrySettings(
    attempts=8, patience_s=6 * 3600, backoff=Backoff(first_s=0.5, longest_s=60), retry_after_most_s=600
)
QUICK = RetrySettings(attempts=4, patience_s=0, backoff=Backoff(first_s=0.05, longest_s=0.2), retry_after_most_s=3)

CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="t",
    agent={"name": "tester", "model": {"id": "m"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)


def busy(after: float = 0.0) -> ModelFailure:
    return ModelFailure("model_overloaded_error", "It is busy.", retryable=True, outage=True, retry_after=after)


def broke_off() -> ModelFailure:
    return ModelFailure("model_request_failed_error", "It broke off.", retryable=True)


class Outage:
    """A session whose model fails, as the log tells it; `now` in microseconds."""

    def __init__(self, settings: RetrySettings = PATIENT) -> None:
        self.settings = settings
        self.now = START
        self.head = advance(Head(), [CONFIG, ev.UserMessage(id="u", content=[])], self.now)
        self.head = advance(self.head, [ev.ThreadStatusRunning(id="r", agent_name="", session_thread_id="")], self.now)
        self.told: list[int] = []
        self.events = 0

    def fails(self, failure: ModelFailure) -> retry.Retry | None:
        """One attempt: the request starts, fails, and its end is committed; None: the turn is given up."""
        self.head = advance(self.head, [ev.ModelRequestStart(id="req")], self.now)
        again = plan(self.head.primary, failure, self.settings, now=self.now, chance=0.0)
        if again is None:
            return None
        events = idle.rescheduled(self.head, CONFIG, again, thread=PRIMARY_THREAD, new_id=new_id)
        self.events += len(events) + 1
        self.head = advance(self.head, events, self.now)
        if again.told:
            self.told.append(self.now)
        assert decide(self.head, now=self.now, fresh_chars=0, limits=Limits(), thread=PRIMARY_THREAD) == Sleep(again.at)
        self.now = again.at
        return again


def test_waits_double_up_to_the_longest_and_each_is_told_with_its_number() -> None:
    outage = Outage()
    texts = [str(again.error["message"]) for _ in range(10) if (again := outage.fails(busy()))]
    waits = ["0.5 s", "1 s", "2 s", "4 s", "8 s", "16 s", "32 s", "1 min", "1 min", "1 min"]
    assert texts == [f"It is busy (attempt {n}, next in {wait})" for n, wait in enumerate(waits, 1)]


def test_an_outage_is_waited_out_for_hours_and_then_given_up() -> None:
    outage = Outage()
    while outage.fails(busy()):
        assert outage.head.status == "rescheduling"
    assert 6 * HOUR <= outage.now - START < 6 * HOUR + 61 * SECOND
    error = retry.given_up(outage.head.primary, busy(), now=outage.now)
    assert error["retry_status"] == {"type": "exhausted"}
    assert error["message"] == f"It is busy (given up at attempt {outage.head.primary.errors + 1}, after 6 h)"


def test_the_log_of_a_long_outage_is_bounded() -> None:
    outage = Outage()
    while outage.fails(busy()):
        pass
    gaps = [b - a for a, b in zip(outage.told, outage.told[1:], strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[:6] == [int(2**n * SECOND / 2) for n in range(6)]
    assert max(gaps) <= 660 * SECOND
    assert len(outage.told) < 70
    assert outage.events < 1000


def test_a_patience_of_nothing_counts_attempts() -> None:
    outage = Outage(QUICK)
    assert [bool(outage.fails(busy())) for _ in range(4)] == [True, True, True, False]


def test_an_answer_that_breaks_off_is_tried_a_few_times_even_in_an_outage() -> None:
    outage = Outage()
    for _ in range(100):
        assert outage.fails(busy())
    for _ in range(7):
        again = outage.fails(broke_off())
        assert again
        assert again.told
        assert outage.fails(busy())
    assert outage.fails(broke_off()) is None


def test_what_does_not_heal_by_itself_is_not_tried_again() -> None:
    outage = Outage()
    wrong = ModelFailure("billing_error", "No credit.", retryable=False)
    assert outage.fails(wrong) is None
    error = retry.given_up(outage.head.primary, wrong, now=outage.now)
    assert (error["message"], error["retry_status"]) == ("No credit (not tried again)", {"type": "exhausted"})


@pytest.mark.parametrize(
    ("settings", "asked", "wait"),
    [
        (PATIENT, 7.5, 7.5),
        (PATIENT, 0, 0.5),
        (PATIENT, 0.1, 0.5),
        (PATIENT, 9_999_999_999, 600),
        (QUICK, 9_999_999_999, 3),
        (QUICK, 2, 2),
    ],
)
def test_a_wait_that_the_endpoint_asks_for_is_kept_to_within_bounds(
    settings: RetrySettings, asked: float, wait: float
) -> None:
    again = Outage(settings).fails(busy(asked))
    assert again
    assert again.at == START + int(wait * SECOND)


def test_a_new_message_ends_the_wait_and_not_the_count() -> None:
    outage = Outage()
    outage.fails(busy(300))
    head = advance(outage.head, [ev.UserMessage(id="u2", content=[])], START + SECOND)
    assert decide(head, now=START + SECOND, fresh_chars=0, limits=Limits(), thread=PRIMARY_THREAD) == CallModel()
    assert (head.primary.errors, head.status) == (1, "rescheduling")


def test_a_good_answer_ends_the_outage() -> None:
    outage = Outage()
    for _ in range(3):
        outage.fails(busy())
    outage.fails(broke_off())
    end = ev.ModelRequestEnd(id="e", model_request_start_id="req", model_usage=ev.ModelUsage(1, 1), stop="end_turn")
    thread = advance(outage.head, [end], outage.now).primary
    assert (thread.errors, thread.broken, thread.failing_since, thread.told_at, thread.retry_at) == (0, 0, 0, 0, 0)


def test_a_log_of_an_older_version_counts_what_it_told() -> None:
    now = START + SECOND
    told = ev.ThreadStatusRescheduled(id="x", agent_name="", session_thread_id="")
    head = advance(Outage().head, [told, ev.SessionStatusRescheduled(id="y", retry_at=now + SECOND)], now)
    assert head.primary.retry_at == now + SECOND
    assert (head.primary.errors, head.primary.failing_since, head.primary.told_at) == (1, now + 1, now + 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 s"),
        (0.5, "0.5 s"),
        (4.0, "4 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (21_600, "6 h"),
        (7_500, "2 h 5 min"),
    ],
)
def test_durations_are_told_in_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
