"""Numbers of bytes for people."""

import pytest

from holdfast.cli.embedded.sizes import human


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9940, "9.9 kB"),
        (9960, "10 kB"),
        (999_600, "1.0 MB"),
        (64_000_000, "64 MB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human(size) == text
