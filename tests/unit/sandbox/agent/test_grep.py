"""The tool `grep`, on a folder of the test."""

from pathlib import Path

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.grep import grep
from tests.unit.sandbox.agent.conftest import text_of


def test_grep_searches_text_files_and_passes_over_the_rest(root: Root) -> None:
    Path(root.path, "a.txt").write_text("one\ntwo\n" + "x" * 5000 + "two\nlast two")
    Path(root.path, "b.bin").write_bytes(b"\0two")
    Path(root.path, "node_modules").mkdir()
    Path(root.path, "node_modules", "c.txt").write_text("two")
    found = text_of(grep(root, {"pattern": "tw."}))
    assert found == f"{root.path}/a.txt:2:two\n{root.path}/a.txt:4:last two"
    assert text_of(grep(root, {"pattern": "two", "path": "a.txt"})).endswith("last two")
