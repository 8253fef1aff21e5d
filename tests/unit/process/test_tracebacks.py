"""An exception in the log: where it was raised, and nothing that somebody sent."""

import pytest

from holdfast.process.tracebacks import places

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
