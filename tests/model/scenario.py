"""A scenario: a model with its rules, faults and bounds, and the verdict that it must give. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.model.explore import Model, Result, Verdict, explore


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`what` is a part of the text that says which property is violated; empty for any."""

    name: str
    rule: str
    """The rule of PROTOCOL.md that is taken away, or what the scenario shows."""
    model: Callable[[], Model[Any]]
    verdict: Verdict = "holds"
    what: str = ""

    def run(self) -> Result:
        """Explore the model. Raises TooManyStates."""
        return explore(self.model())

    def is_expected(self, result: Result) -> bool:
        """True if the exploration gave the verdict that it must give."""
        return result.verdict == self.verdict and self.what in result.what


def describe(scenario: Scenario, result: Result) -> str:
    """The result in lines, with the trace of a violation."""
    mark = "ok  " if scenario.is_expected(result) else "FAIL"
    head = f"{mark} {scenario.name}: {result.verdict} {result.what} ({result.states:,} states, {result.steps:,} steps)"
    return "\n".join([head, *(f"      {n:2} {label}" for n, label in enumerate(result.trace, 1))])


def replaced(items: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """The tuple with another value at `index`."""
    return (*items[:index], value, *items[index + 1 :])
