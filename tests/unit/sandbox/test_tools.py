"""The time limits of tools."""

import pytest

from holdfast.sandbox import tools


@pytest.mark.parametrize(
    ("name", "arguments", "seconds"),
    [
        ("bash", {}, 120), ("bash", {"timeout_ms": 500}, 0.5), ("bash", {"timeout_ms": 10**9}, 600),
        ("bash", {"timeout_ms": 0}, 120), ("bash", {"timeout_ms": True}, 120), ("bash", {"timeout_ms": "9"}, 120),
        ("grep", {"timeout_ms": 500}, 120),
    ],
)  # fmt: skip
def test_the_time_a_call_may_take(name: str, arguments: dict[str, object], seconds: float) -> None:
    assert tools.CallTimeouts(usual=120, most=600).limit(name, arguments) == seconds
