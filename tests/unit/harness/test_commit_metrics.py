"""What is counted of a commit: turns, takeovers, and sandboxes that were lost with calls."""

from msgspec import UNSET

from holdfast.bus import events as ev
from holdfast.bus.commits import Commit, Stored, commit
from holdfast.bus.head import Claim
from holdfast.bus.ids import Key, new_id, new_session_id, time_of
from holdfast.harness.turn.commit_metrics import note_commit
from holdfast.process import metrics
from tests.support.metered import Metered, metered
from tests.unit.harness.heads import CONFIG

KEY = Key("acme", new_session_id())
SECOND = 1_000_000


def appended(before: Stored | None, *events: ev.Event, now: int, claim: Claim | None = None) -> Stored:
    made = commit(before, events, by="me", new_id=new_id, now=now, claim=claim or UNSET)
    if before is not None:
        note_commit(KEY, before.commit.head, made)
    return Stored(before.seq + 1 if before else 1, made)


def running() -> list[ev.Event]:
    thread = ev.ThreadStatusRunning(id=new_id("sevt"), agent_name="a", session_thread_id="t")
    return [ev.SessionStatusRunning(id=new_id("sevt")), thread]


def idle(stop: str = "end_turn") -> list[ev.Event]:
    why = ev.StopReason(stop)  # type: ignore[arg-type]
    thread = ev.ThreadStatusIdle(id=new_id("sevt"), agent_name="a", session_thread_id="t", stop_reason=why)
    return [thread, ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=why)]


def test_a_turn_has_the_time_that_its_message_waited_and_its_duration() -> None:
    asked = ev.UserMessage(id=new_id("sevt"), content=[])
    sent_at = time_of(asked.id)
    assert sent_at is not None
    with metered() as found:
        first = appended(None, CONFIG, now=sent_at - SECOND)
        began = appended(first, asked, *running(), now=sent_at + SECOND // 2)
        more = appended(began, ev.UserMessage(id=new_id("sevt"), content=[]), now=sent_at + SECOND)
        appended(more, *idle(), now=sent_at + 4 * SECOND)
        assert found.points(metrics.TURN_QUEUE) == [({}, (1, 0.5))]
        ((labels, (count, seconds)),) = found.points(metrics.TURN_DURATION)
        assert (labels, count) == ({metrics.STOP: "end_turn"}, 1)
        assert abs(seconds - 3.5) < 0.001


def test_a_turn_that_was_given_up_is_an_error_and_one_that_waits_for_the_client_is_none() -> None:
    with metered() as found:
        last = appended(None, CONFIG, now=SECOND)
        for number, stop in enumerate(("retries_exhausted", "requires_action", "refusal"), 2):
            began = appended(last, *running(), now=number * 10 * SECOND)
            last = appended(began, *idle(stop), now=number * 10 * SECOND + SECOND)
        errors = {labels[metrics.STOP]: labels.get(metrics.ERROR) for labels, _ in found.points(metrics.TURN_DURATION)}
        assert errors == {"retries_exhausted": "retries_exhausted", "requires_action": None, "refusal": None}


def call(name: str) -> ev.AgentToolUse:
    return ev.AgentToolUse(id=name, name="bash", input={}, evaluated_permission="allow", hand="sandbox")


def bound(generation: str) -> ev.HandBound:
    return ev.HandBound(id=new_id("sevt"), hand="sandbox", generation=generation, worker="w")


def lost(generation: str) -> ev.HandLost:
    return ev.HandLost(id=new_id("sevt"), hand="sandbox", generation=generation, reason="gone")


def result(name: str) -> ev.AgentToolResult:
    return ev.AgentToolResult(id=new_id("sevt"), tool_use_id=name, content=[], is_error=True)


def test_a_sandbox_counts_as_lost_once_with_all_its_calls_and_not_at_rest() -> None:
    with metered() as found:
        first = appended(None, CONFIG, now=SECOND)
        at_rest = appended(appended(first, bound("g1"), now=2 * SECOND), lost("g1"), now=3 * SECOND)
        assert found.points(metrics.LOST_SANDBOXES) == []
        busy = appended(at_rest, call("c1"), call("c2"), bound("g2"), now=4 * SECOND)
        appended(busy, result("c1"), result("c2"), lost("g2"), now=5 * SECOND)
        assert found.points(metrics.LOST_SANDBOXES) == [({metrics.WHERE: "sandbox"}, 1)]


def takeovers(found: Metered) -> int:
    return sum(count for _, count in found.points(metrics.TAKEOVERS))


def claimed(before: Stored, claim: Claim) -> Commit:
    made = commit(before, [], by=claim.by, new_id=new_id, now=9 * SECOND, claim=claim)
    note_commit(KEY, before.commit.head, made)
    return made


def test_a_claim_of_a_free_session_is_no_takeover() -> None:
    with metered() as found:
        first = appended(None, CONFIG, now=SECOND)
        one = claimed(first, Claim(id="clm_1", by="a", trigger=1))
        assert takeovers(found) == 0
        claimed(Stored(2, one), Claim(id="clm_2", by="b", trigger=1, failures=1))
        assert takeovers(found) == 1
        released = commit(Stored(2, one), [], by="a", new_id=new_id, now=10 * SECOND, claim=None)
        note_commit(KEY, one.head, released)
        assert takeovers(found) == 1
