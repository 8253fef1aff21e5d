"""Where a hand is made: its host keeps its files, also when the hand is gone (rules 17 and 22). Pure.

Two hosts, one hand, one owner at a time. A worker is one start of its process; the workers of a host follow each other
under new ids. A call leaves files, and the next one has to find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    workers: int = 4
    """Worker n is of host n % 2."""
    calls: int = 2
    declines: bool = True
    """A worker of another host than that of the placement declines."""
    keeps_host: bool = True
    """The placement of a lost hand still names its host."""
    compares: bool = True
    """The placement is stored if it is still the one that was read."""
    stored: Literal["before", "after"] = "before"
    """When the placement is stored: before the answer, or at any time behind it."""
    gives_up: bool = True
    """While all decline, the unbound calls get an error result in the end."""


class Placement(NamedTuple):
    """`worker` None: the hand is gone, its files are kept. `revision` counts its changes."""

    host: int | None = None
    worker: int | None = None
    revision: int = 0


Life = Literal["none", "registered", "dead", "expired"]


class State(NamedTuple):
    """`workers`: of each its life. `reads`: the placement that it read for a request that it handles."""

    workers: tuple[Life, ...]
    reads: tuple[Placement | None, ...]
    answered: tuple[bool, ...]
    """The worker made the hand and stores its placement later."""
    placement: Placement = Placement()
    bound: int | None = None
    """The worker of the generation that the head names."""
    calls: int = 0
    """Calls that ran, or got an error result."""
    files: tuple[int, int] = (0, 0)
    """Of each host: the last call whose files it has."""
    last: int = 0
    """The last call that left files."""


Steps = Iterator[Step[State]]


class PlacementModel:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        count = self.rules.workers
        workers: tuple[Life, ...] = tuple("none" if n else "registered" for n in range(count))
        return State(workers, (None,) * count, (False,) * count)

    def is_good(self, state: State) -> bool:
        return state.calls == self.rules.calls

    def violation(self, state: State) -> str | None:
        return None

    def steps(self, state: State) -> Steps:
        for n, life in enumerate(state.workers):
            before = state.workers[n - 2] if n >= 2 else "expired"
            if life == "none" and before in ("dead", "expired"):
                yield Step(f"worker {n} starts on host {n % 2}", "fault", self._with_life(state, n, "registered"))
            if life == "registered":
                yield from self._worker(state, n)
                yield Step(f"worker {n} dies", "fault", self._without(self._with_life(state, n, "dead"), n))
            if life == "dead":
                yield Step(f"the registration of {n} ends", "step", self._with_life(state, n, "expired"))
        yield from self._lost(state)
        if state.calls < self.rules.calls:
            yield from self._call(state)

    @staticmethod
    def _with_life(state: State, n: int, life: Life) -> State:
        return state._replace(workers=replaced(state.workers, n, life))

    @staticmethod
    def _without(state: State, n: int) -> State:
        return state._replace(reads=replaced(state.reads, n, None), answered=replaced(state.answered, n, False))

    def _worker(self, state: State, n: int) -> Steps:
        """The two halves of a request to provision: the worker reads the placement, then stores its own."""
        placement, read = state.placement, state.reads[n]
        if state.bound is None and read is None and not state.answered[n]:
            yield Step(
                f"worker {n} is asked, and reads", "step", state._replace(reads=replaced(state.reads, n, placement))
            )
        if state.answered[n]:
            yield Step(f"worker {n} stores its placement late", "step", self._stored(self._without(state, n), n))
        if read is None:
            return
        done = self._without(state, n)
        if self.rules.declines and read.host not in (None, n % 2):
            yield Step(f"worker {n} declines: the files are on host {read.host}", "wait", done)
        elif read.worker == n:
            yield Step(
                f"worker {n} has the hand already, and is bound", "step", done._replace(bound=self._bound(state, n))
            )
        elif self.rules.declines and read.worker is not None:
            yield Step(f"worker {n} declines: worker {read.worker} has the hand", "wait", done)
        elif self.rules.stored == "after":
            after = done._replace(answered=replaced(done.answered, n, True), bound=self._bound(state, n))
            yield Step(f"worker {n} answers", "step", after)
        elif self.rules.compares and read != placement:
            yield Step(f"worker {n} finds another placement", "wait", done)
        else:
            after = self._stored(done, n)
            yield Step(f"worker {n} stores its placement, the answer is lost", "fault", after)
            yield Step(
                f"worker {n} stores its placement and is bound", "step", after._replace(bound=self._bound(state, n))
            )

    @staticmethod
    def _bound(state: State, n: int) -> int:
        """The owner binds the first that answers."""
        return n if state.bound is None else state.bound

    @staticmethod
    def _stored(state: State, n: int) -> State:
        return state._replace(placement=Placement(n % 2, n, state.placement.revision + 1))

    def _lost(self, state: State) -> Steps:
        """Anybody finds a placement whose worker is not registered; the owner appends that the hand is lost."""
        host, worker, revision = state.placement
        if worker is not None and state.workers[worker] == "expired":
            empty = Placement(host if self.rules.keeps_host else None, None, revision + 1)
            bound = None if state.bound == worker else state.bound
            yield Step(f"the hand on {worker} is gone", "step", state._replace(placement=empty, bound=bound))
        elif state.bound is not None and state.workers[state.bound] == "expired":
            yield Step(f"the owner finds {state.bound} gone", "step", state._replace(bound=None))

    def _call(self, state: State) -> Steps:
        n = state.bound
        if n is not None and state.workers[n] == "registered":
            host, call = n % 2, state.last + 1
            missing = state.files[host] != state.last
            after = state._replace(calls=state.calls + 1, last=call, files=replaced(state.files, host, call))
            yield Step(f"a call runs on host {host}", "step", after, "(7) without the files" if missing else None)
        if n is None and self.rules.gives_up:
            yield Step("nobody makes the hand: an error result", "step", state._replace(calls=state.calls + 1))


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"placement: {name}", rule=rule, model=lambda: PlacementModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("2 hosts, 4 workers, deaths, lost answers", "22"),
    _scenario("a worker of another host makes the hand", "22", "broken", "(7)", declines=False),
    _scenario("a lost hand leaves no host", "17", "broken", "(7)", keeps_host=False),
    _scenario("a placement is stored over another", "22", "broken", "(7)", compares=False),
    _scenario("the answer comes before the placement", "12", "broken", "(7)", stored="after"),
    _scenario("an owner asks for ever", "22", "stuck", gives_up=False),
]
BIG = [_scenario("2 hosts, 6 workers, 4 calls", "22", workers=6, calls=4)]
