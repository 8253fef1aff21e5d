"""Which paths are in the workspace, and which links lead there."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.edit import edit
from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.glob import glob
from holdfast.sandbox.agent.grep import grep
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.read import read
from holdfast.sandbox.agent.write import write
from tests.unit.sandbox.agent.conftest import text_of

TOOLS = ((read, {}), (write, {"content": ""}), (edit, {"old_string": "a", "new_string": "b"}))


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "/", "..", "a/b/../../../x", "~/../../../x"])
def test_paths_outside_are_refused(root: Root, path: str) -> None:
    for tool, more in TOOLS:
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
        "~/../../a/b",
    ):
        assert root.inside(path, "read") == "a/b"
    assert root.inside("~", "read") == ".holdfast/home"
    assert root.inside("~/x", "read") == ".holdfast/home/x"
    assert root.inside("./~/x", "read") == "~/x"
    assert root.inside("a~", "read") == "a~"


def test_a_link_that_stays_inside_is_followed_whatever_it_looks_like(root: Root) -> None:
    """Case F13."""
    top = root.path
    Path(top, "real/sub").mkdir(parents=True)
    Path(top, "real/f.txt").write_text("text")
    for name, target in {
        "absolute": f"{top}/real/f.txt", "relative": "real/f.txt", "chain": "absolute", "folder": f"{top}/real",
        "real/sub/up": "../../absolute", "to-root": top, "dots": f"{top}/real/sub/../f.txt",
        "slashes": f"{top}//real/./f.txt",
    }.items():  # fmt: skip
        Path(top, name).symlink_to(target)
    for path in ("absolute", "relative", "chain", "folder/f.txt", "real/sub/up", "to-root/real/f.txt", "dots",
    "slashes",
                 "folder/sub/up", f"{top}/to-root/folder/f.txt"):  # fmt: skip
        assert text_of(read(root, {"file_path": path})) == "text", path
        assert text_of(grep(root, {"pattern": "text", "path": path})).endswith(":1:text"), path
    assert text_of(glob(root, {"pattern": "*.txt", "path": "folder"})) == f"{top}/folder/f.txt"
    write(root, {"file_path": "folder/new/g", "content": "x"})
    assert Path(top, "real/new/g").read_text() == "x"


def test_a_link_that_leads_outside_is_refused(root: Root) -> None:
    top = root.path
    Path(top, "real").mkdir()
    for name, target in {
        "out": "/etc/passwd", "parent": "..", "deep": "real/../../x", "beside": f"{top}x/f", "via": "out",
        "proc": "/proc/self/root",
    }.items():  # fmt: skip
        Path(top, name).symlink_to(target)
        for tool, more in TOOLS:
            with pytest.raises(ToolError, match="leads outside"):
                tool(root, {"file_path": name if name != "parent" else "parent/x", **more})
    Path(top, "one").symlink_to("two")
    Path(top, "two").symlink_to(f"{top}/one")
    with pytest.raises(ToolError, match="too many levels of symbolic links"):
        read(root, {"file_path": "one"})
