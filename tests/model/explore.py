"""Explores every schedule of a small model, breadth first, so that each trace found is a shortest one. Pure.

A model gives an initial state and the steps that are possible in a state. The kinds of steps:

step    a live part of the system does this sooner or later
wait    a step of polling that changes nothing but time, as a NAK with a delay: it may repeat while others are busy
fault   something that may happen and that nothing relies on: a crash, a lost answer, the input of a client

Verdicts, in the order in which they are looked for:

broken    a state or a step violates a property
stuck     from some state no sequence of steps without further faults leads to a good state: work is lost
livelock  a cycle of steps without a wait: parts of the system can keep each other busy for ever
holds     none of these in any reachable state
"""

from array import array
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

S = TypeVar("S", bound=Hashable)

Kind = Literal["step", "wait", "fault"]
Verdict = Literal["broken", "stuck", "livelock", "holds"]


class Step(NamedTuple, Generic[S]):
    """A step of a model: what happens, the state after it, and the property that the step itself violates."""

    label: str
    kind: Kind
    after: S
    violation: str | None = None


class Model(Protocol[S]):
    """What is explored. States are compared and hashed, so they are tuples of simple values."""

    def initial(self) -> S:
        """The state in which every schedule begins."""
        ...

    def steps(self, state: S) -> Iterator[Step[S]]:
        """Everything that may happen next."""
        ...

    def is_good(self, state: S) -> bool:
        """True if the system may rest in this state for ever."""
        ...

    def violation(self, state: S) -> str | None:
        """The property that this state violates, or None."""
        ...


class Result(NamedTuple):
    """The verdict of an exploration, with the shortest trace that leads to it."""

    verdict: Verdict
    what: str
    trace: list[str]
    states: int
    steps: int


class TooManyStates(Exception):
    """The model has more states than the limit allows: its bounds are too large."""


def explore(model: Model[S], limit: int = 16_000_000) -> Result:
    """Explore all states. Raises TooManyStates."""
    return _Exploration(model, limit).run()


class _Exploration(Generic[S]):
    """The graph of the states reached so far; a state is known by its number, in the order of discovery."""

    def __init__(self, model: Model[S], limit: int) -> None:
        self._model = model
        self._limit = limit
        start = model.initial()
        self._numbers: dict[S, int] = {start: 0}
        self._states: list[S] = [start]
        self._parents = array("i", [-1])
        """The state from which each state was reached first."""
        self._labels = [""]
        """The step by which it was."""
        self._forward: list[array[int]] = []
        """The targets of the steps of each state that are no faults, doubled, plus 1 for a wait."""
        self._good = bytearray()
        self._steps = 0

    def run(self) -> Result:
        """Explore until a violation is found or no state is left, then look for stuck states and cycles."""
        found = self._expand_all() or self._find_stuck() or self._find_livelock() or ("holds", "", [])
        verdict, what, trace = found
        return Result(verdict, what, trace, len(self._states), self._steps)

    def _expand_all(self) -> tuple[Verdict, str, list[str]] | None:
        number = 0
        while number < len(self._states):
            state = self._states[number]
            self._good.append(self._model.is_good(state))
            if violation := self._model.violation(state):
                return ("broken", violation, self._trace(number))
            if found := self._expand(number, state):
                return found
            number += 1
            if number >= self._limit:
                raise TooManyStates(f"more than {self._limit:,} states")
        return None

    def _expand(self, number: int, state: S) -> tuple[Verdict, str, list[str]] | None:
        """Add the states after `state`."""
        numbers, states = self._numbers, self._states
        forward: list[int] = []
        for label, kind, after, violation in self._model.steps(state):
            self._steps += 1
            if violation:
                return ("broken", violation, [*self._trace(number), label])
            target = numbers.setdefault(after, len(states))
            if target == len(states):
                states.append(after)
                self._parents.append(number)
                self._labels.append(label)
            if kind != "fault":
                forward.append(target * 2 + (kind == "wait"))
        self._forward.append(array("i", forward))
        return None

    def _find_stuck(self) -> tuple[Verdict, str, list[str]] | None:
        """Go backwards from the good states; the first state that is not reached is stuck."""
        backward = _reversed([e >> 1 for e in out] for out in self._forward)
        reached = bytearray(self._good)
        todo = [number for number, good in enumerate(self._good) if good]
        while todo:
            for before in backward[todo.pop()]:
                if not reached[before]:
                    reached[before] = 1
                    todo.append(before)
        first = reached.find(0)
        if first < 0:
            return None
        return ("stuck", "no way from here to a good state without outside help", self._trace(first))

    def _find_livelock(self) -> tuple[Verdict, str, list[str]] | None:
        """Remove states without incoming, then without outgoing steps (Kahn): the rest lies on or between cycles."""
        ahead = [[e >> 1 for e in out if not e & 1] for out in self._forward]
        behind = _reversed(ahead)
        alive = bytearray(b"\1") * len(ahead)
        for targets, sources in ((ahead, behind), (behind, ahead)):
            degrees = [sum(alive[s] for s in around) for around in sources]
            todo = [n for n, degree in enumerate(degrees) if not degree and alive[n]]
            while todo:
                number = todo.pop()
                alive[number] = 0
                for target in targets[number]:
                    degrees[target] -= 1
                    if not degrees[target] and alive[target]:
                        todo.append(target)
        first = alive.find(1)
        if first < 0:
            return None
        return ("livelock", f"{sum(alive)} states on cycles without a wait", self._trace(first))

    def _trace(self, number: int) -> list[str]:
        labels: list[str] = []
        while number > 0:
            labels.append(self._labels[number])
            number = self._parents[number]
        return labels[::-1]


def _reversed(forward: Iterable[Iterable[int]]) -> list[list[int]]:
    """The sources of each state, given its targets."""
    edges = [list(targets) for targets in forward]
    backward: list[list[int]] = [[] for _ in edges]
    for number, targets in enumerate(edges):
        for target in targets:
            backward[target].append(number)
    return backward
