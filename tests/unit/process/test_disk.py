"""When a file system counts as low and as full."""

import pytest

from holdfast.process.disk import EMPTY_BELOW, FULL_MOST, LOW_MOST, Space, space

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (500 * GB, 400 * GB, "enough"),
        (500 * GB, LOW_MOST, "enough"),
        (500 * GB, LOW_MOST - 1, "low"),
        (500 * GB, FULL_MOST - 1, "full"),
        (GB, GB // 2, "enough"),
        (GB, 49_000_000, "low"),
        (GB, 9_000_000, "full"),
    ],
)
def test_levels(total: int, free: int, level: str) -> None:
    assert Space(total, free).level() == level


def test_a_level_ends_only_with_some_room_more() -> None:
    def level(free: int, before: str) -> str:
        return Space(500 * GB, free).level(before)  # pyright: ignore[reportArgumentType]

    assert level(FULL_MOST + 1, "full") == "full"
    assert level(FULL_MOST * 5 // 4, "full") == "low"
    assert level(LOW_MOST + 1, "low") == "low"
    assert level(LOW_MOST + 1, "full") == "low"
    assert level(LOW_MOST * 5 // 4, "low") == "enough"


def test_empty_is_less_than_full() -> None:
    assert Space(500 * GB, EMPTY_BELOW - 1).is_empty
    assert not Space(500 * GB, EMPTY_BELOW).is_empty


def test_the_room_of_a_folder_is_known() -> None:
    found = space("/")
    assert 0 < found.free <= found.total
