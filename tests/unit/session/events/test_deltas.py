"""Which deltas of the model's answer a connection is sent."""

from random import Random

import pytest

from holdfast.bus import events as ev
from holdfast.bus.commands import Delta
from holdfast.bus.ids import new_id
from holdfast.session.events import deltas as module
from holdfast.session.events.deltas import DeltaFilter
from tests.support.session_log import delta_piece, delta_start

BOTH = ("agent.message", "agent.thinking")


def made(count: int) -> list[str]:
    return [new_id("sevt") for _ in range(count)]


def message(event_id: str) -> ev.AgentMessage:
    return ev.AgentMessage(id=event_id, content=[])


def begins(event_id: str, thread: str = "") -> ev.ModelRequestStart:
    return ev.ModelRequestStart(id=event_id, thread=thread)


def ends(event_id: str, thread: str = "") -> ev.ModelRequestEnd:
    return ev.ModelRequestEnd(id=event_id, thread=thread, model_request_start_id="s", model_usage=ev.ModelUsage())


def test_the_deltas_of_an_event_are_sent_from_its_start() -> None:
    request, a = made(2)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    deltas = [delta_start(a), delta_piece(a, "x"), delta_piece(a, "y")]
    assert delta_filter.select(deltas) == deltas


def test_without_its_start_no_delta_of_an_event_is_sent() -> None:
    request, a, b = made(3)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    assert delta_filter.select([delta_piece(a, "x"), delta_start(b), delta_piece(b, "y")]) == [
        delta_start(b),
        delta_piece(b, "y"),
    ]


def test_only_the_kinds_that_were_asked_for() -> None:
    request, a, t = made(3)
    delta_filter = DeltaFilter(["agent.thinking"])
    delta_filter.observe(begins(request))
    thinking = delta_start(t, "agent.thinking")
    assert delta_filter.select([thinking, delta_start(a), delta_piece(a, "x")]) == [thinking]


def test_thinking_is_only_announced() -> None:
    request, t = made(2)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    thinking = delta_start(t, "agent.thinking")
    assert delta_filter.select([thinking, Delta(t, "agent.thinking", 0, "secret thought")]) == [thinking]


def test_deltas_that_are_faster_than_the_start_of_their_request_wait_for_it() -> None:
    request, a = made(2)
    delta_filter = DeltaFilter(BOTH)
    assert delta_filter.select([delta_start(a), delta_piece(a, "x")]) == []
    assert delta_filter.observe(begins(request)) == [delta_start(a), delta_piece(a, "x")]
    assert delta_filter.select([delta_piece(a, "y")]) == [delta_piece(a, "y")]


def test_nothing_comes_behind_the_event_itself_or_the_end_of_its_request() -> None:
    one, a, b, end, two, c = made(6)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(one))
    delta_filter.select([delta_start(a), delta_start(b)])
    delta_filter.observe(message(a))
    assert delta_filter.select([delta_piece(a, "late"), delta_start(a), delta_piece(b, "x")]) == [delta_piece(b, "x")]
    delta_filter.observe(ends(end))
    assert delta_filter.select([delta_piece(b, "late"), delta_start(c), delta_piece(c, "x")]) == []
    assert delta_filter.observe(begins(two)) == [delta_start(c), delta_piece(c, "x")]


def test_the_next_request_may_begin_before_the_end_of_the_last_was_shown() -> None:
    one, a, end, two, b = made(5)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(one))
    assert delta_filter.select([delta_start(a), delta_start(b)]) == [delta_start(a), delta_start(b)]
    delta_filter.observe(ends(end))
    assert delta_filter.select([delta_piece(b, "x"), delta_piece(a, "late")]) == []
    assert delta_filter.observe(begins(two)) == [delta_piece(b, "x")]


def test_a_start_that_names_its_request_waits_for_it_though_the_last_request_still_runs() -> None:
    one, a, two, b, end = made(5)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(one))
    begun = delta_start(a, request=one)
    assert delta_filter.select([begun]) == [begun]
    following = [delta_start(b, request=two), delta_piece(b, "x")]
    assert delta_filter.select(following) == []
    delta_filter.observe(ends(end))
    assert delta_filter.observe(begins(two)) == following
    assert delta_filter.select([delta_start(new_id("sevt"), request=one)]) == []
    assert delta_filter.select([delta_piece(b, "y")]) == [delta_piece(b, "y")]


def test_the_end_of_one_thread_leaves_the_others() -> None:
    one, other, a, end = made(4)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(one))
    delta_filter.observe(begins(other, "t1"))
    child = Delta(a, "agent.message", start=True, thread="t1")
    more = Delta(a, "agent.message", 0, "x", thread="t1")
    assert delta_filter.select([child]) == [child]
    delta_filter.observe(ends(end))
    assert delta_filter.select([more]) == [more]


def test_a_connection_opened_in_a_response_gets_none_of_it() -> None:
    _, a, b, end, two, c = made(6)
    delta_filter = DeltaFilter(BOTH)
    assert delta_filter.select([delta_piece(a, "x"), delta_start(b), delta_piece(b, "y")]) == []
    delta_filter.observe(message(b))
    delta_filter.observe(ends(end))
    assert delta_filter.select([delta_piece(b, "z")]) == []
    assert delta_filter.observe(begins(two)) == []
    assert delta_filter.select([delta_start(c)]) == [delta_start(c)]


def test_a_request_that_runs_already_is_shown_from_its_first_delta() -> None:
    request, a = made(2)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.begin({"": request})
    deltas = [delta_start(a, request=request), delta_piece(a, "x"), delta_piece(a, "y")]
    assert delta_filter.select(deltas) == deltas
    assert delta_filter.select([delta_piece(a, "z")]) == [delta_piece(a, "z")]


def test_of_a_request_that_has_sent_deltas_before_nothing_is_shown() -> None:
    request, a, b, end, two, c = made(6)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.begin({"": request})
    assert delta_filter.select([delta_piece(a, "x"), delta_start(b, request=request), delta_piece(b, "y")]) == []
    delta_filter.observe(message(a))
    delta_filter.observe(ends(end))
    assert delta_filter.select([delta_piece(b, "z")]) == []
    delta_filter.observe(begins(two))
    following = [delta_start(c, request=two), delta_piece(c, "x")]
    assert delta_filter.select(following) == following


def test_late_deltas_of_the_request_before_do_not_hide_the_running_one() -> None:
    before, a, b, request, c = made(5)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.begin({"": request})
    assert delta_filter.select([delta_piece(a, "late"), delta_start(b, request=before), delta_piece(b, "late")]) == []
    mine = [delta_start(c, request=request), delta_piece(c, "x")]
    assert delta_filter.select(mine) == mine


def test_what_had_begun_before_a_connection_was_opened_again_is_not_continued() -> None:
    request, a, b = made(3)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    delta_filter.select([delta_start(a, request=request), delta_piece(a, "x")])
    delta_filter.begin({"": request})
    assert delta_filter.select([delta_piece(a, "y")]) == []
    other = [delta_start(b, request=request), delta_piece(b, "x")]
    assert delta_filter.select(other) == other


def _two_requests(random: Random) -> tuple[list[ev.Event | Delta], dict[str, str], dict[str, str]]:
    """What happens in two requests with several messages each; text and request of each message, by its id."""
    happened: list[ev.Event | Delta] = []
    texts: dict[str, str] = {}
    request_of: dict[str, str] = {}
    for _ in range(2):
        request = new_id("sevt")
        happened.append(begins(request))
        messages: list[ev.Event] = []
        for event_id in made(random.randint(1, 3)):
            texts[event_id], request_of[event_id] = "", request
            happened.append(delta_start(event_id, request=request))
            for _ in range(random.randint(1, 4)):
                text = random.choice(["a", "bc", "def"])
                happened.append(Delta(event_id, "agent.message", 0, text, at=len(texts[event_id])))
                texts[event_id] += text
            messages.append(message(event_id))
        happened += [*messages, ends(new_id("sevt"))]
    return happened, texts, request_of


def _runs(happened: list[ev.Event | Delta]) -> str:
    """The request that runs after all that."""
    spans = [one for one in happened if isinstance(one, ev.ModelRequestStart | ev.ModelRequestEnd)]
    return spans[-1].id if spans and isinstance(spans[-1], ev.ModelRequestStart) else ""


def _shown(delta_filter: DeltaFilter, happened: list[ev.Event | Delta]) -> dict[str, str]:
    """What a connection that hears this is shown, by event id."""
    shown: dict[str, str] = {}
    closed: set[str] = set()
    for one in happened:
        closed |= set() if isinstance(one, Delta) else {one.id}
        for delta in delta_filter.select([one]) if isinstance(one, Delta) else delta_filter.observe(one):
            assert delta.event not in closed, "nothing comes behind the event itself"
            assert delta.start == (delta.event not in shown)
            shown[delta.event] = shown.get(delta.event, "") + delta.text
    return shown


@pytest.mark.parametrize("seed", range(200))
def test_whenever_a_connection_opens_it_sees_all_that_begins_later(seed: int) -> None:
    random = Random(seed)
    happened, texts, request_of = _two_requests(random)
    opened = random.randint(0, len(happened))
    running = _runs(happened[:opened])
    delta_filter = DeltaFilter(BOTH)
    delta_filter.begin({"": running} if running else {})
    shown = _shown(delta_filter, happened[opened:])
    begun = any(isinstance(one, Delta) and request_of[one.event] == running for one in happened[:opened])
    starts = {one.event for one in happened[opened:] if isinstance(one, Delta) and one.start}
    whole = {event_id for event_id in starts if request_of[event_id] != running or not begun}
    assert whole <= set(shown) <= starts
    assert all(shown[event_id] == texts[event_id] for event_id in shown)


@pytest.mark.parametrize("seed", range(200))
def test_whichever_comes_first_log_or_delta_only_prefixes_are_shown(seed: int) -> None:
    random = Random(seed)
    happened, texts, _ = _two_requests(random)
    opened = random.randint(0, len(happened))
    running = _runs(happened[:opened])
    delta_filter = DeltaFilter(BOTH)
    delta_filter.begin({"": running} if running else {})
    log = [one for one in happened[opened:] if not isinstance(one, Delta)]
    deltas = [one for one in happened[opened:] if isinstance(one, Delta)]
    shown = _shown(delta_filter, _mixed(random, log, deltas))
    assert all(texts[event_id].startswith(text) for event_id, text in shown.items())


def _mixed(random: Random, log: list[ev.Event], deltas: list[Delta]) -> list[ev.Event | Delta]:
    """Both in their own order, one before the other as it comes."""
    log, deltas, out = list(log), list(deltas), list[ev.Event | Delta]()
    while log or deltas:
        source = log if log and (not deltas or random.random() < 0.5) else deltas
        out.append(source.pop(0))
    return out


def test_after_a_loss_an_event_of_which_something_was_sent_gets_no_more_deltas() -> None:
    request, a, b = made(3)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    delta_filter.select([delta_start(a)])
    delta_filter.drop()
    assert delta_filter.select([delta_piece(a, "x"), delta_start(a), delta_start(b)]) == [delta_start(b)]


def test_a_lost_piece_ends_the_deltas_of_its_event() -> None:
    request, a, b = made(3)
    delta_filter = DeltaFilter(BOTH)
    delta_filter.observe(begins(request))
    first, second, third = (Delta(a, "agent.message", 0, text, at=at) for text, at in (("ab", 0), ("cd", 2), ("e", 4)))
    assert delta_filter.select([delta_start(a), first, third, second]) == [delta_start(a), first]
    assert delta_filter.select([delta_start(b), delta_piece(b, "x")]) == [delta_start(b), delta_piece(b, "x")]


def test_deltas_of_a_response_that_nobody_follows_are_not_kept_for_ever() -> None:
    _, a, two, b = made(4)
    delta_filter = DeltaFilter(BOTH)
    for _ in range(3 * module.MAX_BUFFERED_DELTAS):
        delta_filter.select([delta_piece(a, "x")])
    assert delta_filter.select([delta_start(b)]) == []
    assert delta_filter.observe(begins(two)) == [delta_start(b)]
