"""The tool `glob`, on a folder of the test."""

import os
from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.glob import glob, matcher
from holdfast.sandbox.agent.grep import grep
from tests.unit.sandbox.agent.conftest import text_of


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*.py", ["/a.py", "/x/y/a.py"], ["/a.pyc", "/a.py/b"]),
        ("src/*.py", ["/src/a.py"], ["/src/x/a.py", "/y/src/a.py"]),
        ("**/*.py", ["/a.py", "/x/y/a.py"], ["/a"]), ("src/**", ["/src/a", "/src/a/b"], ["/src", "/x"]),
        ("**", ["/a", "/a/b"], []), ("a?c", ["/abc"], ["/ac", "/a/c"]), ("[a-c]x", ["/bx"], ["/dx"]),
        ("[!a]x", ["/bx"], ["/ax"]), ("*.{py,md}", ["/a.py", "/b.md"], ["/c.txt"]), ("a.b", ["/a.b"], ["/axb"]),
        ("**/test/**/*.js", ["/test/a.js", "/x/test/y/a.js"], ["/x/a.js"]), (".*", ["/.env"], ["/env"]),
        ("[", ["/["], ["/a"]), ("a***b", ["/ab", "/axxb"], ["/a/b"]),
    ],
)  # fmt: skip
def test_patterns(pattern: str, matches: list[str], others: list[str]) -> None:
    match = matcher(pattern)
    for path in matches:
        assert match(path), path
    for path in others:
        assert not match(path), path


def test_a_file_name_that_is_no_utf8_is_spelled_out(root: Root, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(root.path) + b"/odd\xff\n.txt")).write_text("needle")
    assert text_of(glob(root, {"pattern": "*"})).endswith("odd\\xff\n.txt")
    text_of(grep(root, {"pattern": "needle"})).encode()


def test_glob_shows_the_newest_first_and_tells_when_there_is_more(root: Root) -> None:
    for index in range(250):
        path = Path(root.path, f"f{index}")
        path.touch()
        os.utime(path, (index, index))
    lines = text_of(glob(root, {"pattern": "f*"})).split("\n")
    assert lines[0] == f"{root.path}/f249"
    assert len(lines) == 201
    assert lines[-1].startswith("[200 of 250 paths shown")
    assert text_of(glob(root, {"pattern": "none"})) == "no matches"
