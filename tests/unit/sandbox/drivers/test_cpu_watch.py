"""When a sandbox goes behind the others, and when it comes back."""

import math

from holdfast.sandbox.drivers.bubblewrap.cpu_watch import MEMORY_S, POLL_S, QUIET, Load


def after(load: Load, seconds: float, processors: float) -> bool:
    """Whether the sandbox is behind once it has used so many processors for so long."""
    for _ in range(round(seconds / POLL_S)):
        load.add(processors * POLL_S, POLL_S)
    return load.is_behind


def test_a_sandbox_that_computes_goes_behind_within_a_second() -> None:
    assert not after(Load(), 0.5, 1.0)
    assert after(Load(), 1.0, 1.0)
    assert after(Load(), 0.5, 2.0)


def test_ordinary_commands_stay_in_front() -> None:
    load = Load()
    for _ in range(100):  # half a second of computing in each four seconds, as tests and compilers of small projects
        assert not after(load, 0.5, 1.0)
        assert not after(load, 3.5, 0.0)
    assert not after(Load(), 600, 0.2)


def test_it_comes_back_when_it_has_been_quiet_for_long() -> None:
    load = Load()
    assert after(load, 60, 2.0)
    assert after(load, 5, 0.0), "a sandbox behind the others may get too little to look busy"
    assert not after(load, 8, 0.0)


def test_a_sandbox_that_gets_little_stays_behind() -> None:
    load = Load()
    assert after(load, 60, 2.0)
    assert after(load, 600, 2 * QUIET)


def test_the_average_does_not_depend_on_how_often_it_is_looked_at() -> None:
    seldom, often = Load(), Load()
    seldom.add(2.0, 2.0)
    for _ in range(20):
        often.add(0.1, 0.1)
    assert math.isclose(seldom.average, often.average)
    assert math.isclose(seldom.average, 1 - math.exp(-2.0 / MEMORY_S))
