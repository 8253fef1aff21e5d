"""The calls of one response run in its order on their hand (rule 12). Pure.

A call asks the client first, or is ready. Any owner sends whatever its log says is due, as often as it likes, so owners
need no memory and their deaths are no step. A worker begins a call when a request reaches it, however late. One
interrupt cancels what is open, which is one step (rule 18).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

Log = Literal["none", "ask", "ready", "closed"]
Work = Literal["none", "sent", "running", "finished", "refused"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    calls: int = 3
    due: Literal["order", "all", "barriers only", "accepted", "passing approvals"] = "order"
    """What is sent: by the rule; every ready call; a call that changes something alone waits; what is before it was
    accepted, not ended; what is behind a call that waits for the client."""
    cancel: bool = True
    """An interrupt has the calls refused for ever before it closes them."""


class State(NamedTuple):
    """By position in the response. `reads`: the call only reads."""

    reads: tuple[bool, ...] = ()
    log: tuple[Log, ...] = ()
    work: tuple[Work, ...] = ()
    is_over: bool = False
    """The calls were interrupted, and the model was asked again: it may call something that changes things."""


Steps = Iterator[Step[State]]


class OrderModel:
    """One response, one hand, one generation."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State()

    def is_good(self, state: State) -> bool:
        return bool(state.log) and all(at == "closed" for at in state.log)

    def violation(self, state: State) -> str | None:
        if state.is_over and "running" in state.work:
            return "(3) a call runs beside those of the next response"
        return None

    def steps(self, state: State) -> Steps:
        if not state.log:
            yield from self._responses()
            return
        for n in range(len(state.log)):
            yield from self._call(state, n)
        if any(at != "closed" for at in state.log):
            yield self._interrupt(state)

    def _responses(self) -> Steps:
        for reads in product((False, True), repeat=self.rules.calls):
            for asks in product((False, True), repeat=self.rules.calls):
                log: tuple[Log, ...] = tuple("ask" if one else "ready" for one in asks)
                yield Step(f"a response: reads {reads}, asks {asks}", "step", State(reads, log, ("none",) * len(log)))

    def _call(self, state: State, n: int) -> Steps:
        at, work = state.log[n], state.work[n]
        if at == "ask":
            yield Step(f"the client allows {n}", "step", state._replace(log=replaced(state.log, n, "ready")))
        if at == "ready" and work == "none" and self._is_due(state, n):
            yield Step(f"an owner sends {n}", "step", self._working(state, n, "sent"))
        if work == "sent":
            yield Step(f"{n} begins", "step", self._working(state, n, "running"), self._disorder(state, n))
        if work == "running":
            yield Step(f"{n} ends", "step", self._working(state, n, "finished"))
        if work == "finished" and at == "ready":
            closed = state._replace(log=replaced(state.log, n, "closed"))
            yield Step(f"an owner appends the result of {n}", "step", closed)

    @staticmethod
    def _working(state: State, n: int, work: Work) -> State:
        return state._replace(work=replaced(state.work, n, work))

    def _interrupt(self, state: State) -> Step[State]:
        work = state.work
        if self.rules.cancel:
            work = tuple("refused" if one in ("none", "sent", "running") else one for one in work)
        after = state._replace(log=("closed",) * len(state.log), work=work, is_over=True)
        return Step("an interrupt closes all calls", "fault", after)

    def _is_due(self, state: State, n: int) -> bool:
        """Whether an owner whose fold of the log is `state.log` sends call `n`."""
        if self.rules.due == "all" or (self.rules.due == "barriers only" and state.reads[n]):
            return True
        before = [m for m in range(n) if state.log[m] != "closed" and not (state.reads[m] and state.reads[n])]
        if self.rules.due == "accepted":
            before = [m for m in before if state.work[m] == "none"]
        if self.rules.due == "passing approvals":
            before = [m for m in before if state.log[m] != "ask"]
        return not before

    @staticmethod
    def _disorder(state: State, n: int) -> str | None:
        """A call begins: none before it may be still to come or run, unless both only read."""
        for m in range(n):
            if state.work[m] not in ("finished", "refused") and not (state.reads[m] and state.reads[n]):
                return f"(8) call {n} begins before call {m} has ended"
        return None


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"order: {name}", rule=rule, model=lambda: OrderModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("three calls, approvals, an interrupt", "12"),
    _scenario("all ready calls are sent at once", "12", "broken", "(8)", due="all"),
    _scenario("what reads does not wait", "12", "broken", "(8)", due="barriers only"),
    _scenario("accepted counts as ended", "12", "broken", "(8)", due="accepted"),
    _scenario("an open approval is passed", "12", "broken", "(8)", due="passing approvals"),
    _scenario("closed without a cancel", "18", "broken", "(3)", cancel=False),
]
BIG = [_scenario("five calls, approvals, an interrupt", "12", calls=5)]
