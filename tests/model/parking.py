"""A turn that no harness survives is closed, and its inputs are set aside (rule 23). Pure.

The inputs of one subject, replicas at the limit of rule 4, and an operator. That a harness lives through an input after
all, or that an operator releases one, is a fault: nothing relies on it. A commit is the step that moves `taken`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    inputs: int = 2
    messages: int = 4
    """Those of the clients, and those that an operator stored again."""
    replicas: int = 2
    store_first: bool = True
    """The bucket has the inputs before the commit that gives them up."""
    up_to_trigger: bool = True
    """What is above `taken` and below the trigger is set aside too."""
    refused: Literal["leave", "remove"] = "leave"
    """What was set aside, when the commit is refused."""
    look: Literal["log and inbox", "log", "none"] = "log and inbox"
    """Where an operator's release looks for the input first."""
    publish_first: bool = True
    """A release removes what was set aside after it is stored again."""
    known_ids: bool = False
    """Ids that the log has only move `taken` (rule 5). Heads remember the last ones only: nothing relies on it here."""


class Parker(NamedTuple):
    """A replica that gives a turn up. `expects` is the `taken` that it read, `stored` the last input it set aside."""

    expects: int
    trigger: int
    stored: int


class State(NamedTuple):
    """Messages have sequences from 1 on; `messages` has the input of each."""

    messages: tuple[int, ...]
    taken: int
    in_log: tuple[int, ...]
    """How often the log has each input."""
    parked: frozenset[int] = frozenset()
    """Sequences."""
    parkers: tuple[Parker | None, ...] = ()
    releasing: tuple[int, bool] | None = None
    """What the operator releases, and whether the first half is done."""


Steps = Iterator[Step[State]]


class ParkingModel:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        inputs = self.rules.inputs
        return State(tuple(range(inputs)), 0, (0,) * inputs, parkers=(None,) * self.rules.replicas)

    def is_good(self, state: State) -> bool:
        return state.taken == len(state.messages)

    def violation(self, state: State) -> str | None:
        waiting = state.messages[state.taken :]
        parked = [state.messages[seq - 1] for seq in state.parked]
        for one, count in enumerate(state.in_log):
            if count > 1:
                return "(1) an input is taken twice"
            if not count and one not in waiting and one not in parked:
                return "(1) an input is lost"
        return None

    def steps(self, state: State) -> Steps:
        if state.taken < len(state.messages):
            yield Step("a harness that lives takes the next input", "fault", self._take(state))
        for n, parker in enumerate(state.parkers):
            if parker is None:
                yield from self._begin(state, n)
            else:
                yield Step(f"replica {n} dies", "fault", self._with(state, n, None))
                yield self._park(state, n, parker)
        yield from self._release(state)

    def _take(self, state: State) -> State:
        one = state.messages[state.taken]
        in_log = state.in_log
        if not (self.rules.known_ids and in_log[one]):
            in_log = replaced(in_log, one, in_log[one] + 1)
        return state._replace(taken=state.taken + 1, in_log=in_log)

    # --- a replica at the limit of rule 4 ---------------------------------------------------------------------------

    @staticmethod
    def _with(state: State, n: int, parker: Parker | None) -> State:
        return state._replace(parkers=replaced(state.parkers, n, parker))

    def _begin(self, state: State, n: int) -> Steps:
        for trigger in range(state.taken + 1, len(state.messages) + 1):
            first = state.taken if self.rules.up_to_trigger else trigger - 1
            after = self._with(state, n, Parker(state.taken, trigger, first))
            yield Step(f"replica {n} is at the limit with {trigger}", "step", after)

    def _park(self, state: State, n: int, parker: Parker) -> Step[State]:
        if parker.stored < parker.trigger and self.rules.store_first:
            return self._store(state, n, parker)
        if state.taken == parker.expects:
            after = state._replace(taken=parker.trigger)
            return Step(f"replica {n} gives up to {parker.trigger}", "step", self._with(after, n, None))
        if not self.rules.store_first and state.taken == parker.trigger and parker.stored < parker.trigger:
            return self._store(state, n, parker)
        kept = state.parked
        if self.rules.refused == "remove":
            kept -= set(range(parker.expects + 1, parker.trigger + 1))
        return Step(f"the commit of replica {n} is refused", "step", self._with(state._replace(parked=kept), n, None))

    def _store(self, state: State, n: int, parker: Parker) -> Step[State]:
        seq = parker.stored + 1
        after = self._with(state._replace(parked=state.parked | {seq}), n, parker._replace(stored=seq))
        return Step(f"replica {n} sets {seq} aside", "step", after)

    # --- the operator ----------------------------------------------------------------------------------------------

    def _may_release(self, state: State, seq: int) -> bool:
        one, look = state.messages[seq - 1], self.rules.look
        if look == "none":
            return True
        waits = look == "log and inbox" and one in state.messages[state.taken :]
        return seq <= state.taken and not state.in_log[one] and not waits

    def _release(self, state: State) -> Steps:
        """A look, and two halves; it may end between any of them, and be begun again."""
        if state.releasing is None:
            for seq in state.parked:
                if self._may_release(state, seq):
                    yield Step(f"an operator releases {seq}", "fault", state._replace(releasing=(seq, False)))
            return
        seq, half = state.releasing
        yield Step("the operator's command ends early", "fault", state._replace(releasing=None))
        if half == self.rules.publish_first:
            after = state._replace(parked=state.parked - {seq})
            label = f"{seq} is no longer set aside"
        elif len(state.messages) < self.rules.messages:
            after = state._replace(messages=(*state.messages, state.messages[seq - 1]))
            label = f"{seq} is stored again"
        else:
            return
        yield Step(label, "step", after._replace(releasing=None if half else (seq, True)))


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"parking: {name}", rule=rule, model=lambda: ParkingModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("2 inputs, 2 replicas, crashes, releases", "23"),
    _scenario("the turn is given up before its inputs are set aside", "23", "broken", "lost", store_first=False),
    _scenario("only the trigger is set aside", "23", "broken", "lost", up_to_trigger=False),
    _scenario("what a refused commit set aside is removed", "23", "broken", "lost", refused="remove"),
    _scenario("removed before it is stored again", "23", "broken", "lost", publish_first=False),
    _scenario("a repeated release looks at the log only", "23", "broken", "twice", look="log"),
    _scenario("released without a look", "23", "broken", "twice", look="none"),
    _scenario("released without a look, all ids are known for ever", "5", look="none", known_ids=True, replicas=1),
]
BIG = [_scenario("3 inputs, 3 replicas, crashes, releases", "23", inputs=3, messages=6, replicas=3)]
