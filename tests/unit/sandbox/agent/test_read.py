"""The tool `read`, on a folder of the test."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.read import read
from tests.unit.sandbox.agent.conftest import text_of


@pytest.mark.parametrize(
    ("view", "shown"),
    [([1, 1], "a"), ([2, 3], "b\nc"), ([2, -1], "b\nc\n"), ([2, 0], "b\nc\n"), ([0, 2], "a\nb"),
     ([3, 99], "c\n"), ([9, 9], None), ([3, 2], None)],
)  # fmt: skip
def test_view_ranges(root: Root, view: list[int], shown: str | None) -> None:
    Path(root.path, "f").write_text("a\nb\nc\n")
    assert text_of(read(root, {"file_path": "f", "view_range": view})) == (shown or "(no such lines)")


def test_reading_what_is_no_text_or_too_much_says_what_to_do(root: Root) -> None:
    Path(root.path, "empty").touch()
    Path(root.path, "binary").write_bytes(b"\xff\x00")
    Path(root.path, "big").write_text("x" * 300_000 + "\ny\n")
    assert text_of(read(root, {"file_path": "empty"})) == "(the file is empty)"
    for given, said in (
        ({"file_path": "binary"}, "not valid UTF-8"),
        ({"file_path": "big"}, "Use the view_range parameter"),
        ({"file_path": "big", "view_range": [1, 1]}, "alone exceeds"),
        ({"file_path": "big", "view_range": [1, 9]}, "Narrow the view_range"),
    ):
        with pytest.raises(ToolError, match=said):
            read(root, given)
    assert text_of(read(root, {"file_path": "big", "view_range": [2, 2]})) == "y"
