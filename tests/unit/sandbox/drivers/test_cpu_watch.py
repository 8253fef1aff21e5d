"""When a sandbox goes behind the others, and when it comes back."""

import pytest

from holdfast.sandbox.drivers.bubblewrap.cpu_watch import POLL_S, QUIET, Load


def after(load: Load, seconds: float, processors: float, every_s: float = POLL_S) -> bool:
    """Whether the sandbox is behind once it has used so many processors for so long."""
    for _ in range(round(seconds / every_s)):
        load.add(processors * every_s, every_s)
    return load.is_behind


def test_a_sandbox_that_computes_goes_behind_within_half_a_second() -> None:
    assert after(Load(), 0.25, 1.0)
    assert after(Load(), 0.5, 0.6)


def test_a_command_that_computes_for_a_moment_comes_back_soon() -> None:
    load = Load()
    for _ in range(100):  # half a second of computing in each four seconds, as tests and compilers of small projects
        assert after(load, 0.5, 1.0)
        assert not after(load, 1.25, 0.0)
        assert not after(load, 2.25, 0.0)


def test_ordinary_commands_stay_in_front() -> None:
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


def test_one_that_gets_nearly_nothing_comes_back() -> None:
    """So that it gets something on a host whose processors are always busy."""
    load = Load()
    assert after(load, 60, 2.0)
    assert not after(load, 20, QUIET / 10)


@pytest.mark.parametrize("every_s", [0.05, 0.1, 0.5])
def test_it_does_not_depend_on_how_often_it_is_looked_at(every_s: float) -> None:
    load = Load()
    assert after(load, 2.0, 1.0, every_s)
    assert after(load, 4.0, 0.0, every_s)
    assert not after(load, 4.0, 0.0, every_s)
