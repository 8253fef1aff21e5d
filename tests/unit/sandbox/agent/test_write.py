"""The tools `write` and `edit`, on a folder of the test."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.write import edit, write
from tests.unit.sandbox.agent.conftest import text_of


def test_write_and_edit_keep_bytes_and_line_ends(root: Root) -> None:
    assert text_of(write(root, {"file_path": "x/y", "content": "é\r\n"})) == "wrote 4 bytes to x/y"
    assert Path(root.path, "x/y").read_bytes() == "é\r\n".encode()
    edit(root, {"file_path": "x/y", "old_string": "é", "new_string": "e"})
    assert Path(root.path, "x/y").read_bytes() == b"e\r\n"
    write(root, {"file_path": "x/y", "content": "a a"})
    assert "2 replacement" in text_of(
        edit(root, {"file_path": "x/y", "old_string": "a", "new_string": "b", "replace_all": True})
    )
    with pytest.raises(ToolError, match="old_string not found in x/y"):
        edit(root, {"file_path": "x/y", "old_string": "z", "new_string": ""})
