"""The explorer finds each kind of violation, by a shortest trace, and believes no model that has one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.model.explore import Kind, Step, TooManyStates, explore


@dataclass
class Graph:
    """A model given as a graph: for each state the labels, kinds and targets of its steps."""

    edges: dict[int, list[tuple[str, Kind, int]]]
    good: set[int]
    bad: dict[int, str] = field(default_factory=dict)

    def initial(self) -> int:
        return 0

    def steps(self, state: int) -> Iterator[Step[int]]:
        for label, kind, target in self.edges.get(state, []):
            yield Step(label, kind, target)

    def is_good(self, state: int) -> bool:
        return state in self.good

    def violation(self, state: int) -> str | None:
        return self.bad.get(state)


def test_a_good_model_holds() -> None:
    result = explore(Graph({0: [("go", "step", 1), ("crash", "fault", 0)]}, good={1}))
    assert (result.verdict, result.states, result.steps, result.trace) == ("holds", 2, 2, [])


def test_the_shortest_trace_to_a_broken_state_is_found() -> None:
    edges: dict[int, list[tuple[str, Kind, int]]] = {
        0: [("long", "step", 1), ("short", "step", 2)],
        1: [("way", "step", 3)],
        2: [("cut", "step", 4)],
        3: [("end", "step", 4)],
    }
    result = explore(Graph(edges, good={4}, bad={4: "a property"}))
    assert (result.verdict, result.what, result.trace) == ("broken", "a property", ["short", "cut"])


def test_a_fault_is_no_way_out() -> None:
    result = explore(Graph({0: [("go", "step", 1), ("rest", "step", 2)], 1: [("luck", "fault", 2)]}, good={2}))
    assert (result.verdict, result.trace) == ("stuck", ["go"])


def test_a_cycle_of_steps_is_a_livelock_although_it_can_be_left() -> None:
    cycle: list[tuple[str, Kind, int]] = [("back", "step", 0), ("out", "step", 2)]
    result = explore(Graph({0: [("forth", "step", 1)], 1: cycle}, good={2}))
    assert result.verdict == "livelock"


@pytest.mark.parametrize("kind", ["wait", "fault"])
def test_a_cycle_with_a_wait_or_a_fault_is_no_livelock(kind: Kind) -> None:
    cycle: list[tuple[str, Kind, int]] = [("back", kind, 0), ("out", "step", 2)]
    assert explore(Graph({0: [("forth", "step", 1)], 1: cycle}, good={2})).verdict == "holds"


def test_a_model_without_bounds_is_refused() -> None:
    edges: dict[int, list[tuple[str, Kind, int]]] = {n: [("on", "step", n + 1)] for n in range(100)}
    with pytest.raises(TooManyStates):
        explore(Graph(edges, good={100}), limit=50)
