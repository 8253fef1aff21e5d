"""An exception in the log: where it was raised, and nothing that somebody sent."""

import pytest

from holdfast.process.tracebacks import MOST_FRAMES, places

CANARY = "canary-text-of-a-task"


def test_types_and_places_are_told_and_no_text() -> None:
    def inner() -> None:
        raise ValueError(CANARY)

    def outer() -> None:
        try:
            inner()
        except ValueError as cause:
            raise KeyError(CANARY) from cause

    with pytest.raises(KeyError) as raised:
        outer()
    told = places(raised.value)
    assert told[0] == "KeyError"
    assert "ValueError" in told
    assert any(line.startswith("test_tracebacks.py:") and line.endswith(" inner") for line in told)
    assert CANARY not in str(told)


def test_a_context_that_is_suppressed_is_left_out_and_a_circle_ends() -> None:
    def hidden() -> None:
        try:
            int("x")
        except ValueError:
            raise KeyError from None

    with pytest.raises(KeyError) as raised:
        hidden()
    assert "ValueError" not in places(raised.value)
    other = OSError()
    raised.value.__cause__, other.__cause__ = other, raised.value
    assert places(raised.value).count("OSError") == 1


def test_the_exceptions_of_a_group_are_told() -> None:
    told = places(ExceptionGroup(CANARY, [OSError(CANARY), ExceptionGroup(CANARY, [KeyError(CANARY)])]))
    assert told == ["ExceptionGroup", "OSError", "ExceptionGroup", "KeyError"]


def test_a_deep_recursion_is_told_by_its_ends() -> None:
    def deeper(n: int) -> None:
        if not n:
            raise ZeroDivisionError
        deeper(n - 1)

    with pytest.raises(ZeroDivisionError) as raised:
        deeper(200)
    told = places(raised.value)
    assert len(told) == MOST_FRAMES + 2
    assert told[-1].endswith(" deeper")
    assert "(162 frames)" in told
