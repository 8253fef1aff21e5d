"""The protocol as the real code keeps it: thousands of schedules of crashes, stalls, lost answers, late and repeated
messages and stale reads at every await. None may break what must never happen (PROTOCOL.md), each must settle.

SCHEDULES=20000 searches longer. A seed that fails is looked at with `tests.simulation.scenario.story(seed)`.
"""

import os

import pytest
from msgspec.structs import replace

from tests.simulation.call_mutations import nothing_is_confirmed
from tests.simulation.fault_injector import ALL_FAULTS
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.plan import Plan
from tests.simulation.scenario import schedule

pytestmark = pytest.mark.timeout(600)

COUNT = int(os.environ.get("SCHEDULES", "2400"))
CHUNK_SCHEDULES = 100
MUTATION_SCHEDULES = 400
"""Schedules within which every missing rule must cause a violation."""


@pytest.mark.parametrize("first", range(0, COUNT, CHUNK_SCHEDULES))
def test_the_rules_hold(first: int) -> None:
    for seed in range(first, first + CHUNK_SCHEDULES):
        result = schedule(seed)
        assert not result.violations, result


@pytest.mark.parametrize("first", range(0, COUNT // 4, CHUNK_SCHEDULES))
def test_the_rules_hold_with_everything_at_once(first: int) -> None:
    busy = Plan(replicas=3, workers=2, messages=4, interrupts=2, impatient=2, updates=2, drains=1, calls=6)
    for seed in range(first, first + CHUNK_SCHEDULES):
        result = schedule(seed, odds=ALL_FAULTS, given=replace(busy, reads=seed % 2 == 1))
        assert not result.violations, result


@pytest.mark.parametrize("first", range(0, COUNT // 4, CHUNK_SCHEDULES))
def test_the_rules_hold_with_two_threads(first: int) -> None:
    busy = Plan(workers=2, clocks=1, messages=6, interrupts=2, impatient=2, updates=1, drains=1, calls=8, child=True)
    for seed in range(first, first + CHUNK_SCHEDULES):
        result = schedule(seed, odds=ALL_FAULTS, given=replace(busy, reads=seed % 2 == 1))
        assert not result.violations, result


@pytest.mark.parametrize("first", range(0, COUNT // 8, CHUNK_SCHEDULES))
def test_the_rules_hold_with_a_delete(first: int) -> None:
    deleted = Plan(workers=2, messages=4, interrupts=1, impatient=1, updates=1, drains=1, calls=6, delete=True)
    for seed in range(first, first + CHUNK_SCHEDULES):
        result = schedule(seed, odds=ALL_FAULTS if seed % 2 else None, given=deleted)
        assert not result.violations, result


def test_the_rules_hold_if_no_confirmation_arrives() -> None:
    """Every result that was given in an answer comes to the inbox too."""
    answered = Plan(replicas=2, workers=2, messages=2, calls=6)
    with nothing_is_confirmed():
        for seed in range(CHUNK_SCHEDULES):
            result = schedule(seed, odds=ALL_FAULTS, given=replace(answered, reads=seed % 2 == 1))
            assert not result.violations, result


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_every_rule_is_needed(mutation: Mutation) -> None:
    found = -1
    with mutation.apply():
        for seed in range(MUTATION_SCHEDULES):
            violations = schedule(seed, odds=mutation.odds, given=mutation.plan).violations
            if any(text.startswith(mutation.finds) for text in violations):
                found = seed
                break
    assert found >= 0, "the search does not notice that this rule is missing"
    for seed in range(max(0, found - 5), found + 5):
        result = schedule(seed, odds=mutation.odds, given=mutation.plan)
        assert not result.violations, "with the rule the same schedules are good"


def test_a_seed_gives_the_same_schedule_again() -> None:
    for seed in range(20):
        one, two = schedule(seed), schedule(seed)
        assert (one.steps, one.commits, one.seconds, one.counts) == (two.steps, two.commits, two.seconds, two.counts)


def test_the_schedules_reach_every_kind_of_fault() -> None:
    seen: dict[str, int] = {}
    for seed in range(60):
        for name, count in schedule(seed).counts.items():
            seen[name] = seen.get(name, 0) + count
    assert set(seen) >= {"crash", "freeze", "lost", "unanswered", "late"}, seen
