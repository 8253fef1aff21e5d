"""Public events are copied from the log to the stream of public events (rule 30). Pure.

The log gets three events: `a1` of the session a, `b1` of the session b, and the tombstone of a. Publishers die, take
each other for dead and are slow; requests arrive late; an eraser removes the deleted session (rule 29).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

A1, B1, TOMBSTONE = range(3)
NAMES = ("a1", "b1", "the tombstone")
NOTHING = -1


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    publishers: int = 2
    fence: Literal["sequence", "id", "none"] = "sequence"
    """What refuses an append: the last sequence of the stream, the id within the dedupe window, or nothing."""
    resume: Literal["stream", "error"] = "stream"
    """After a refusal: go on behind the last message of the stream, or with the next own event at its sequence."""
    waits_for_tombstone: bool = True
    """The eraser removes public events only when the tombstone of their session is among them."""
    keeps_tombstone: bool = True


class Publisher(NamedTuple):
    """What one publisher knows: the next event, the last sequence that it expects, the event that it has read."""

    next: int
    expect: int
    read: int = NOTHING


class Request(NamedTuple):
    """An append on its way, whose sender does not wait for it any more."""

    event: int
    expect: int


class State(NamedTuple):
    """`log`: events stored. `out`: the stream; the index in it plus one is the sequence. `gone`: sequences erased."""

    publishers: tuple[Publisher | None, ...]
    log: int = 0
    log_erased: bool = False
    out: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    late: Request | None = None
    window: tuple[int, ...] = ()
    """Ids that the server remembers."""
    erased: bool = False


Steps = Iterator[Step[State]]


class PublicModel:
    """Two publishers, one eraser, one request that is late at a time."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State(publishers=(None,) * self.rules.publishers)

    def is_good(self, state: State) -> bool:
        return state.log == len(NAMES) and state.erased and B1 in state.out and state.out[-1] == TOMBSTONE

    def violation(self, state: State) -> str | None:
        if len(set(state.out)) < len(state.out):
            return "an event is published twice"
        if list(state.out) != sorted(state.out):
            return "events are published out of order"
        if TOMBSTONE in state.out and B1 not in state.out:
            return "an event is not published"
        if state.erased and A1 in self._left(state):
            return "(9) an event of the deleted session is left"
        return None

    @staticmethod
    def _left(state: State) -> list[int]:
        return [event for at, event in enumerate(state.out) if at + 1 not in state.gone]

    def steps(self, state: State) -> Steps:
        if state.log < len(NAMES):
            yield Step(f"{NAMES[state.log]} is stored in the log", "step", state._replace(log=state.log + 1))
        for n, publisher in enumerate(state.publishers):
            if publisher is None:
                yield self._begin(state, n)
            else:
                yield from self._publish(state, n, publisher)
        if state.late:
            yield Step("the late request arrives", "step", self._stored(state, state.late)[0]._replace(late=None))
            yield Step("the late request is lost", "fault", state._replace(late=None))
        if state.window:
            yield Step("the dedupe window is over", "fault", state._replace(window=()))
        if state.log > TOMBSTONE and not state.erased:
            yield from self._erase(state)

    def _begin(self, state: State, n: int) -> Step[State]:
        left = self._left(state)
        knows = Publisher(left[-1] + 1 if left else 0, len(state.out))
        label = f"P{n} reads the last message, goes on with {knows.next} behind {knows.expect}"
        return Step(label, "step", self._with(state, n, knows))

    def _publish(self, state: State, n: int, knows: Publisher) -> Steps:
        yield Step(f"P{n} dies", "fault", self._with(state, n, None))
        if knows.read == NOTHING:
            event = B1 if knows.next == A1 and state.log_erased else knows.next
            if event < state.log:
                yield Step(f"P{n} reads {NAMES[event]}", "step", self._with(state, n, knows._replace(read=event)))
            return
        request = Request(knows.read, knows.expect)
        stored, seq = self._stored(state, request)
        if seq:
            after: Publisher | None = Publisher(knows.read + 1, seq)
            label = f"P{n} publishes {NAMES[knows.read]}"
        else:
            again = self.rules.resume == "error"
            after = knows._replace(expect=len(state.out)) if again else None
            label = f"P{n} is refused with {NAMES[knows.read]}"
        yield Step(label, "step", self._with(stored, n, after))
        if state.late is None:
            lost = self._with(state._replace(late=request), n, None)
            yield Step(f"P{n} sends {NAMES[knows.read]} and dies or gives up", "fault", lost)

    def _stored(self, state: State, request: Request) -> tuple[State, int]:
        """The state after the server has handled the request, and the sequence that it answers; 0: refused."""
        if self.rules.fence == "sequence" and request.expect != len(state.out):
            return state, 0
        if self.rules.fence == "id" and request.event in state.window:
            return state, state.out.index(request.event) + 1
        window = (*state.window, request.event) if self.rules.fence == "id" else ()
        return state._replace(out=(*state.out, request.event), window=window), len(state.out) + 1

    def _erase(self, state: State) -> Steps:
        if not state.log_erased:
            yield Step("the eraser erases the log", "step", state._replace(log_erased=True))
        elif TOMBSTONE in state.out or not self.rules.waits_for_tombstone:
            kept = (B1, TOMBSTONE) if self.rules.keeps_tombstone else (B1,)
            gone = tuple(at + 1 for at, event in enumerate(state.out) if event not in kept)
            yield Step("the eraser erases public events", "step", state._replace(gone=gone, erased=True))

    @staticmethod
    def _with(state: State, n: int, publisher: Publisher | None) -> State:
        return state._replace(publishers=replaced(state.publishers, n, publisher))


def _scenario(name: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"public: {name}", rule="30", model=lambda: PublicModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("two publishers, deaths, late requests, a delete"),
    _scenario("an append expects nothing", "broken", "twice", fence="none"),
    _scenario("only the id keeps it from being stored twice", "broken", "twice", fence="id"),
    _scenario("a refused publisher goes on at the sequence of the error", "broken", "twice", resume="error"),
    _scenario("the eraser does not wait for the tombstone", "broken", "(9)", waits_for_tombstone=False),
    _scenario("the eraser erases the tombstone too", "broken", "twice", keeps_tombstone=False),
]
BIG = [_scenario("three publishers, deaths, late requests, a delete", publishers=3)]
