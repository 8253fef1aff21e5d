"""A session is deleted while others still write for it, and nothing of it may stay (rule 29). Pure.

There are two kinds of writers. A harness stores a snapshot after its release, however late. Whoever stores a large body
or an input (`putter`) gives up within the window of rule 19. Both begin before the tombstone: after it nobody begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tests.model.explore import Step, Verdict
from tests.model.scenario import Scenario, replaced

Harness = Literal["none", "begun", "looked", "stored"]
Pass = Literal["none", "early", "last"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Bounds and rules; the defaults of the rules are the protocol's."""

    erasers: int = 2
    look: Literal["after", "before", "never"] = "after"
    """When a harness looks for a tombstone: after it has stored the snapshot, before, or not at all."""
    tombstone_first: bool = True
    last_pass: bool = True
    """All is erased once more when the window is over, before the log says that it is erased."""
    late_death: bool = False
    """A harness may die after the window, between the snapshot that it has stored and its look."""


class State(NamedTuple):
    """`erased`: the log says so. `passes`: what each eraser has erased of snapshot and bodies, and when."""

    deleted: bool = False
    window_over: bool = False
    erased: bool = False
    snapshot: bool = False
    body: bool = False
    harness: Harness = "none"
    putter: bool = False
    passes: tuple[tuple[Pass, Pass], ...] = ()


Steps = Iterator[Step[State]]


class DeleteModel:
    """One session, one harness that stores a snapshot, one process that stores a body, erasers that die."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def initial(self) -> State:
        none: tuple[Pass, Pass] = ("none", "none")
        return State(passes=(none,) * self.rules.erasers)

    def is_good(self, state: State) -> bool:
        return not state.deleted or (state.erased and not state.snapshot and not state.body)

    def violation(self, state: State) -> str | None:
        if state.erased and state.body:
            return "(9) a body of the deleted session is left"
        if state.erased and state.snapshot and state.harness == "none":
            return "(9) a snapshot of the deleted session is left"
        return None

    def steps(self, state: State) -> Steps:
        if not state.deleted:
            yield Step("the session is deleted", "fault", state._replace(deleted=True))
        yield from self._harness(state)
        yield from self._putter(state)
        if state.deleted and not state.putter and not state.window_over:
            yield Step("the window is over", "step", state._replace(window_over=True))
        if not state.erased and (state.deleted or not self.rules.tombstone_first):
            for n in range(self.rules.erasers):
                yield from self._eraser(state, n)

    def _harness(self, state: State) -> Steps:
        does = state.harness
        if does == "none" and not state.deleted:
            yield Step("a harness is about to store a snapshot", "fault", state._replace(harness="begun"))
        if does == "begun" and self.rules.look == "before":
            after: Harness = "none" if state.deleted else "looked"
            yield Step(f"the harness looks, deleted: {state.deleted}", "step", state._replace(harness=after))
        elif does in ("begun", "looked"):
            after = "stored" if self.rules.look == "after" else "none"
            yield Step("the harness stores the snapshot", "step", state._replace(snapshot=True, harness=after))
        if does == "stored":
            left = state.snapshot and not state.deleted
            done = state._replace(snapshot=left, harness="none")
            yield Step(f"the harness looks, deleted: {state.deleted}", "step", done)
        if does != "none" and (self.rules.late_death or not state.window_over):
            yield Step("the harness dies", "fault", state._replace(harness="none"))

    @staticmethod
    def _putter(state: State) -> Steps:
        if not state.putter and not state.deleted:
            yield Step("somebody is about to store a body", "fault", state._replace(putter=True))
        if state.putter:
            yield Step("the body is stored", "step", state._replace(putter=False, body=True))
            yield Step("the body is given up", "step", state._replace(putter=False))

    def _eraser(self, state: State, n: int) -> Steps:
        snapshot, body = state.passes[n]
        now: Pass = "last" if state.window_over else "early"
        if snapshot != now:
            after = state._replace(snapshot=False, passes=replaced(state.passes, n, (now, body)))
            yield Step(f"E{n} erases the snapshot ({now})", "step", after)
        if body != now:
            after = state._replace(body=False, passes=replaced(state.passes, n, (snapshot, now)))
            yield Step(f"E{n} erases the bodies ({now})", "step", after)
        enough = ("last",) if self.rules.last_pass else ("early", "last")
        if state.deleted and snapshot in enough and body in enough:
            yield Step(f"E{n} appends that all is erased", "step", state._replace(erased=True))
        if (snapshot, body) != ("none", "none"):
            died = state._replace(passes=replaced(state.passes, n, ("none", "none")))
            yield Step(f"E{n} dies", "fault", died)


def _scenario(name: str, verdict: Verdict = "holds", what: str = "", **rules: Any) -> Scenario:
    return Scenario(
        name=f"deletes: {name}", rule="29", model=lambda: DeleteModel(Rules(**rules)), verdict=verdict, what=what
    )


SCENARIOS = [
    _scenario("late writers, two erasers that die"),
    _scenario("a harness does not look for the tombstone", "broken", "(9) a snapshot", look="never"),
    _scenario("a harness looks before it stores", "broken", "(9) a snapshot", look="before"),
    _scenario("erased before the tombstone", "broken", "(9)", tombstone_first=False, last_pass=False),
    _scenario("erased once", "broken", "(9)", last_pass=False),
    _scenario("a harness dies after the window, before it looks", "broken", "(9) a snapshot", late_death=True),
]
BIG = [_scenario("late writers, three erasers that die", erasers=3)]
