"""Two threads in one session: one claim covers both, the session is idle if all its threads are (rules 5 and 8). Pure.

The primary thread may delegate to the child once. The commit that ends the child's turn wakes the primary thread. One
owner at a time, which may die at any step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

PRIMARY, CHILD = 0, 1
NAMES = ("primary", "child")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    inputs: int = 2
    interrupts: int = 1
    idle: Literal["all", "primary"] = "all"
    """The claim is released when all threads are idle, or when the primary one is."""
    child_end: Literal["commit", "memory"] = "commit"
    """The end of the child wakes its parent in the same commit, or the owner remembers to do it."""
    interrupt: Literal["thread", "session"] = "thread"
    """An interrupt stops its thread, or all threads."""


class State(NamedTuple):
    """`todo`: the next step of a thread is a model request. `inbox`: kind and thread of each input."""

    inputs: int
    interrupts: int
    todo: tuple[bool, bool] = (False, False)
    delegated: bool = False
    is_owed: bool = False
    """The primary thread has not heard of the end of its child."""
    claim: bool = False
    owner: bool = False
    inbox: tuple[tuple[str, int], ...] = ()
    remembers: bool = False
    """The owner remembers to wake the primary thread."""


Steps = Iterator[Step[State]]


class ThreadsModel:
    """One session with two threads."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        return State(self.rules.inputs, self.rules.interrupts)

    def is_good(self, state: State) -> bool:
        return not (state.claim or state.inbox or any(state.todo) or state.is_owed)

    def violation(self, state: State) -> str | None:
        if not state.claim and any(state.todo):
            return "(4) the session is idle while a thread has work"
        return None

    def steps(self, state: State) -> Steps:
        for thread, name in enumerate(NAMES):
            if state.inputs:
                after = state._replace(inputs=state.inputs - 1, inbox=(*state.inbox, ("input", thread)))
                yield Step(f"an input for the {name} thread is stored", "fault", after)
            if state.interrupts:
                after = state._replace(interrupts=state.interrupts - 1, inbox=(*state.inbox, ("interrupt", thread)))
                yield Step(f"an interrupt of the {name} thread is stored", "fault", after)
        if not state.owner:
            if state.claim or state.inbox:
                yield Step("a replica claims the session", "step", state._replace(claim=True, owner=True))
            return
        yield Step("the owner dies", "fault", state._replace(owner=False, remembers=False))
        yield from self._drive(state)

    def _drive(self, state: State) -> Steps:
        if state.inbox:
            yield self._take(state)
            return
        if state.remembers:
            woken = state._replace(todo=replaced(state.todo, PRIMARY, True), is_owed=False, remembers=False)
            yield Step("the owner wakes the primary thread", "step", woken)
        for thread, has_work in enumerate(state.todo):
            if has_work:
                yield from self._work(state, thread)
        awake = state.todo if self.rules.idle == "all" else state.todo[:1]
        if not any(awake) and not state.remembers:
            yield Step("the owner releases, idle", "step", state._replace(claim=False, owner=False))

    def _take(self, state: State) -> Step[State]:
        (kind, thread), rest = state.inbox[0], state._replace(inbox=state.inbox[1:])
        if kind == "input":
            after = rest._replace(todo=replaced(state.todo, thread, True))
            return Step(f"the owner takes an input of the {NAMES[thread]} thread", "step", after)
        stopped = (thread,) if self.rules.interrupt == "thread" else (PRIMARY, CHILD)
        todo = tuple(has_work and t not in stopped for t, has_work in enumerate(state.todo))
        violation = None
        if state.todo[1 - thread] and not todo[1 - thread]:
            violation = "(t) an interrupt of one thread stops another"
        after = rest._replace(todo=(todo[PRIMARY], todo[CHILD]))
        if thread == CHILD and state.is_owed and state.todo[CHILD]:
            after = self._child_ended(after)
        return Step(f"the owner takes an interrupt of the {NAMES[thread]} thread", "step", after, violation)

    def _work(self, state: State, thread: int) -> Steps:
        ended = state._replace(todo=replaced(state.todo, thread, False))
        if thread == CHILD and state.is_owed:
            ended = self._child_ended(ended)
        yield Step(f"the owner appends the last turn of the {NAMES[thread]} thread", "step", ended)
        if thread == PRIMARY and not state.delegated:
            after = ended._replace(todo=(False, True), delegated=True, is_owed=True)
            yield Step("the owner appends a delegation to the child, answered, and ends the turn", "fault", after)

    def _child_ended(self, state: State) -> State:
        """The child's end, in the commit that ends its turn."""
        if self.rules.child_end == "memory":
            return state._replace(remembers=True)
        return state._replace(todo=replaced(state.todo, PRIMARY, True), is_owed=False)


def _scenario(name: str, rule: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"threads: {name}", rule=rule, model=lambda: ThreadsModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("two threads, inputs, an interrupt, a delegation", "5, 8"),
    _scenario("idle when the primary thread is", "8", "broken", "(4)", idle="primary"),
    _scenario("the child's end is kept in memory", "6", "stuck", child_end="memory"),
    _scenario("an interrupt stops all threads", "18", "broken", "(t)", interrupt="session"),
]
BIG = [_scenario("two threads, 4 inputs, 2 interrupts", "5, 8", inputs=4, interrupts=2)]
