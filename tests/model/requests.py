"""A model request that is sent beside the append that announces it (rule 6). Pure.

The log is kept whole here, because the question is which outputs enter it. The work is one turn: a commit {claim,
start of request q}, then {turn of q, release}. The request is sent together with its start, before the answer to that
append. Two replicas; the faults are bounded by a budget: deaths, takeovers from a slow owner, foreign appends, lost
answers, late appends. `lost` counts requests that were paid for and whose output did not enter the log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    replicas: int = 2
    faults: int = 2
    deaths: bool = True
    foreign: bool = True
    """The session service may append."""
    takeovers: bool = True
    """A live owner may be slow, so that another replica takes over."""
    refused: Literal["drop", "keep"] = "drop"
    """A request whose start was refused is dropped, or announced again."""
    deltas: Literal["after", "before"] = "after"
    """Deltas are published after the start is known to be stored, or before."""
    output: Literal["after", "before"] = "after"
    """The turn is appended after the start is known to be stored, or expecting the sequence it should have got."""
    may_lose: int = -1
    """Property: at most so many requests are lost; -1: they are not counted, which makes fewer states."""


class Entry(NamedTuple):
    """A commit: `start` (with its claim), `turn` (with its release) or `other`; `saw`: commits the request had seen."""

    kind: str
    by: int = 0
    request: int = 0
    saw: int = 0


class Replica(NamedTuple):
    """`start`: what is known of the append of the start: "", `sent`, `stored`, `silent`, `refused`."""

    known: int = -1
    """Commits read; the next append expects this number. -1: it has read nothing."""
    request: int = 0
    """The request under way; 0: none."""
    saw: int = 0
    start: str = ""
    output: bool = False
    """The response is complete."""
    shown: bool = False
    """Deltas of it were published."""


class State(NamedTuple):
    """`late`: a start under way whose sender has given up waiting, and the sequence it expects."""

    replicas: tuple[Replica, ...]
    log: tuple[Entry, ...] = ()
    late: tuple[Entry, int] | None = None
    faults: int = 0
    requests: int = 0
    lost: int = 0


IDLE = Replica()
Steps = Iterator[Step[State]]


class RequestsModel:
    """Two replicas and one log."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State((IDLE,) * self.rules.replicas, faults=self.rules.faults)

    def is_good(self, state: State) -> bool:
        return _has_turn(state)

    def violation(self, state: State) -> str | None:
        started: set[int] = set()
        last = 0
        for place, entry in enumerate(state.log):
            if entry.kind == "start":
                started.add(entry.request)
                last = entry.request
                if entry.saw != place:
                    return "(c) the log holds commits before a start that its request has not seen"
            elif entry.kind == "turn" and entry.request not in started:
                return "(c) the output of a request that is not in the log"
            elif entry.kind == "turn" and entry.request != last:
                return "(2) the output of a lost claim is in the log"
        if sum(entry.kind == "turn" for entry in state.log) > 1:
            return "(1) the turn is in the log twice"
        if any(r.shown and r.request not in started for r in state.replicas):
            return "(d) deltas of a request that is not in the log"
        return "(l) too many requests are lost" if 0 <= self.rules.may_lose < state.lost else None

    def steps(self, state: State) -> Steps:
        if state.late:
            entry, expected = state.late
            log = (*state.log, entry) if expected == len(state.log) else state.log
            yield Step("the late start arrives", "fault", state._replace(log=log, late=None))
        if state.faults and self.rules.foreign:
            yield Step("the session service appends", "fault", _cost(state._replace(log=(*state.log, Entry("other")))))
        for index, replica in enumerate(state.replicas):
            yield from self._steps_of(state, index, replica)

    def _steps_of(self, state: State, index: int, replica: Replica) -> Steps:
        if replica != IDLE and state.faults and self.rules.deaths:
            dead = self._lose(state, index) if replica.request else _set(state, index, IDLE)
            yield Step(f"R{index} dies", "fault", _cost(dead))
        if replica.known < 0:
            yield from self._claimable(state, index)
        elif not replica.request:
            request = state.requests + 1
            asks = Replica(replica.known, request, replica.known, "sent")
            label = f"R{index} sends request {request}, and its start beside it"
            yield Step(label, "step", _set(state, index, asks)._replace(requests=request))
        else:
            yield from self._request_steps(state, index, replica)

    def _claimable(self, state: State, index: int) -> Steps:
        """A delivery: no claim is open, or its owner is dead, or too slow."""
        if _has_turn(state):
            return
        owner = _owner(state)
        is_slow = owner is not None and owner != index and state.replicas[owner] != IDLE
        read = _set(state, index, Replica(known=len(state.log)))
        if not is_slow:
            yield Step(f"R{index} reads the head", "step", read)
        elif state.faults and self.rules.takeovers:
            yield Step(f"R{index} reads the head, the owner is slow", "fault", _cost(read))

    def _request_steps(self, state: State, index: int, replica: Replica) -> Steps:
        rules, request = self.rules, replica.request
        if not replica.output:
            yield Step(
                f"R{index} gets the output of {request}", "step", _set(state, index, replica._replace(output=True))
            )
        if not replica.shown and (replica.start == "stored" or (rules.deltas == "before" and replica.start == "sent")):
            shown = _set(state, index, replica._replace(shown=True))
            yield Step(f"R{index} publishes deltas of {request}", "fault", shown)
        if replica.start == "sent":
            yield from self._append_start(state, index, replica)
        elif replica.start in ("silent", "refused"):
            yield self._read_again(state, index, replica)
        if replica.output and replica.start == "stored":
            yield self._append_turn(state, index, replica, replica.known)
        elif replica.output and replica.start == "sent" and rules.output == "before":
            yield self._append_turn(state, index, replica, replica.known + 1)

    def _append_start(self, state: State, index: int, replica: Replica) -> Steps:
        entry = Entry("start", index, replica.request, replica.saw)
        label = f"the start of {replica.request}"
        silent = replica._replace(start="silent")
        if replica.known == len(state.log):
            stored = state._replace(log=(*state.log, entry))
            acked = replica._replace(start="stored", known=replica.known + 1)
            yield Step(f"{label} is stored", "step", _set(stored, index, acked))
            if state.faults:
                yield Step(f"{label} is stored, answer lost", "fault", _cost(_set(stored, index, silent)))
        else:
            yield Step(f"{label} is refused", "step", _set(state, index, replica._replace(start="refused")))
        if state.faults and state.late is None:
            late = _set(state, index, silent)._replace(late=(entry, replica.known))
            yield Step(f"{label} is delayed", "fault", _cost(late))

    def _read_again(self, state: State, index: int, replica: Replica) -> Step[State]:
        """Rule 7: my commit is there: stored. Nothing has moved: send it again, unchanged. Else it can never land."""
        request = replica.request
        if any(entry.kind == "start" and entry.request == request for entry in state.log):
            if _owner(state) == index:
                found = replica._replace(start="stored", known=len(state.log))
                return Step(f"R{index} finds its start of {request}", "step", _set(state, index, found))
        elif replica.start == "silent" and len(state.log) == replica.known:
            again = _set(state, index, replica._replace(start="sent"))
            return Step(f"R{index} sends the start of {request} again, unchanged", "step", again)
        elif self.rules.refused == "keep" and _owner(state) is None:
            kept = replica._replace(start="sent", known=len(state.log))
            return Step(f"R{index} announces request {request} again", "step", _set(state, index, kept))
        return Step(f"R{index} drops request {request} unread", "step", self._lose(state, index))

    def _append_turn(self, state: State, index: int, replica: Replica, expected: int) -> Step[State]:
        request = replica.request
        if expected == len(state.log):
            log = (*state.log, Entry("turn", index, request))
            after = _set(state._replace(log=log), index, IDLE)
            return Step(f"R{index} appends the turn of {request}, releases", "step", after)
        if replica.start == "stored" and _owner(state) == index:
            folded = _set(state, index, replica._replace(known=len(state.log)))
            return Step(f"R{index}'s turn is refused, still its claim", "step", folded)
        return Step(f"R{index}'s turn is refused, the claim is lost: dropped", "step", self._lose(state, index))

    def _lose(self, state: State, index: int) -> State:
        """The replica forgets its request, which was paid for."""
        return _set(state, index, IDLE)._replace(lost=state.lost + (self.rules.may_lose >= 0))


def _set(state: State, index: int, replica: Replica) -> State:
    return state._replace(replicas=replaced(state.replicas, index, replica))


def _cost(state: State) -> State:
    return state._replace(faults=state.faults - 1)


def _has_turn(state: State) -> bool:
    return any(entry.kind == "turn" for entry in state.log)


def _owner(state: State) -> int | None:
    """The replica whose claim is open: that of the last start, unless its turn has released it."""
    for entry in reversed(state.log):
        if entry.kind == "turn":
            return None
        if entry.kind == "start":
            return entry.by
    return None


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"requests: {name}", rule=rule, model=lambda: RequestsModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("the output of a lost claim never enters the log", "6"),
    _scenario("one replica without faults loses no request", "6", replicas=1, faults=0, may_lose=0),
    _scenario("a race of two deliveries loses a request", "6", "broken", "(l)", faults=0, may_lose=0),
    _scenario("a race of two deliveries loses at most one request", "6", faults=0, may_lose=1),
    _scenario("a foreign append loses a request", "6", "broken", "(l)", replicas=1, faults=1, deaths=False, may_lose=0),
    _scenario("one fault of one replica loses at most one request", "6", replicas=1, faults=1, may_lose=1),
    _scenario("2 replicas lose at most 2 requests for each fault and 1 more", "6", faults=1, may_lose=3),
    _scenario("a refused start is announced again", "6", "broken", "has not seen", refused="keep"),
    _scenario("deltas are published before the start is stored", "6", "broken", "(d)", deltas="before"),
    _scenario("the output is appended before the start is known", "6", "broken", "not in the log", output="before"),
]
BIG = [
    _scenario("the output of a lost claim never enters the log, 3 faults", "6", faults=3),
    _scenario("2 replicas lose at most 2 requests for each of 2 faults and 1 more", "6", may_lose=5),
]
