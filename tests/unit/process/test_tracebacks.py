"""An exception in the log: where it was raised, and nothing that somebody sent."""

from holdfast.process.tracebacks import places

CANARY = "canary-text-of-a-task"


def test_types_and_places_are_told_and_no_text() -> None:
    def inner() -> None:
        raise ValueError(f"bad value {CANARY}")

    try:
        try:
            inner()
        except ValueError as cause:
            raise KeyError(CANARY) from cause
    except KeyError as exc:
        told = places(exc)
    assert told[0] == "KeyError"
    assert "ValueError" in told
    assert any(line.startswith("test_tracebacks.py:") and line.endswith(" inner") for line in told)
    assert CANARY not in str(told)


def test_a_context_that_is_suppressed_is_left_out_and_a_circle_ends() -> None:
    try:
        try:
            raise ValueError
        except ValueError:
            raise KeyError from None
    except KeyError as exc:
        assert "ValueError" not in places(exc)
        other = OSError()
        exc.__cause__, other.__cause__ = other, exc
        assert places(exc).count("OSError") == 1
