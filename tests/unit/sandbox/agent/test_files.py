"""Which paths are in the workspace."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.read import read
from holdfast.sandbox.agent.write import edit, write


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "/", "..", "a/b/../../../x"])
def test_paths_outside_are_refused(root: Root, path: str) -> None:
    for tool, more in ((read, {}), (write, {"content": ""}), (edit, {"old_string": "a", "new_string": "b"})):
        with pytest.raises(ToolError, match="outside the session's working directory"):
            tool(root, {"file_path": path, **more})


def test_paths_inside_may_be_spelled_in_any_way(root: Root) -> None:
    for path in (
        "a/b",
        "./a/b",
        "a//b",
        "a/./b",
        "a/c/../b",
        f"{root.path}/a/b",
        f"{root.path}/../{Path(root.path).name}/a/b",
    ):
        assert root.inside(path, "read") == "a/b"
