"""When a helper does not do for another call."""

import os

from holdfast.sandbox.agent.helper import CALLS, GROWTH_BYTES, Usage


def test_a_helper_does_for_so_many_calls() -> None:
    usage = Usage()
    assert [usage.after_a_call() for _ in range(CALLS)] == [True] * (CALLS - 1) + [False]


def test_a_call_that_left_a_descriptor_open_is_the_last() -> None:
    usage = Usage()
    assert usage.after_a_call()
    left = os.open("/", os.O_PATH)
    assert not usage.after_a_call()
    os.close(left)
    assert usage.after_a_call()


def test_a_call_that_left_much_memory_is_the_last() -> None:
    usage = Usage()
    assert usage.after_a_call()
    much = b"x" * (8 * GROWTH_BYTES)  # so large that it is not taken from what this process has already
    assert not usage.after_a_call()
    del much
    assert usage.after_a_call()
