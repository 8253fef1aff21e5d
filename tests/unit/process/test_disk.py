"""Limits of the levels of free space."""

import pytest

from holdfast.process.disk import EMPTY_LIMIT_BYTES, FULL_LIMIT_BYTES, LOW_LIMIT_BYTES, Space, space

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (500 * GB, 400 * GB, "enough"),
        (500 * GB, LOW_LIMIT_BYTES, "enough"),
        (500 * GB, LOW_LIMIT_BYTES - 1, "low"),
        (500 * GB, FULL_LIMIT_BYTES - 1, "full"),
        (GB, GB // 2, "enough"),
        (GB, 49_000_000, "low"),
        (GB, 9_000_000, "full"),
    ],
)
def test_levels(total: int, free: int, level: str) -> None:
    assert Space(total, free).level() == level


def test_a_level_ends_only_above_its_limit() -> None:
    def level(free: int, before: str) -> str:
        return Space(500 * GB, free).level(before)  # pyright: ignore[reportArgumentType]

    assert level(FULL_LIMIT_BYTES + 1, "full") == "full"
    assert level(FULL_LIMIT_BYTES * 5 // 4, "full") == "low"
    assert level(LOW_LIMIT_BYTES + 1, "low") == "low"
    assert level(LOW_LIMIT_BYTES + 1, "full") == "low"
    assert level(LOW_LIMIT_BYTES * 5 // 4, "low") == "enough"


def test_empty_is_less_than_full() -> None:
    assert Space(500 * GB, EMPTY_LIMIT_BYTES - 1).is_empty
    assert not Space(500 * GB, EMPTY_LIMIT_BYTES).is_empty


def test_the_space_of_a_folder_is_measured() -> None:
    found = space("/")
    assert 0 < found.free <= found.total
