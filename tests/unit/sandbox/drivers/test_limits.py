"""Which limits hold without control groups, and what is said of those that do not."""

from pathlib import Path

import pytest

from holdfast.sandbox.drivers.bubblewrap import hierarchy, limits


def test_weak_limits_are_told_in_half_a_sentence() -> None:
    weak = hierarchy.Hierarchy("weak", {}, "a long cause")
    assert limits.weakness(weak, root=False) == (
        "each process alone, not the whole sandbox (no control group can be written)"
    )
    assert "number of processes is not limited" in limits.weakness(weak, root=True)
    assert limits.weakness(hierarchy.Hierarchy("v1", dict.fromkeys(hierarchy.CONTROLLERS, Path("/x"))), root=True) == ""


@pytest.mark.parametrize(
    ("kernel", "alone"),
    [("5.10.0-30-amd64", False), ("4.18.0-553.el8", False), ("5.14.0-503.el9", True), ("6.8.0-45-generic", True)],
)
def test_older_kernels_count_all_processes_of_the_user(kernel: str, alone: bool) -> None:
    assert limits.counts_alone(kernel) is alone


def test_the_threads_of_this_user_are_counted() -> None:
    assert limits.threads_of_user() >= 1
