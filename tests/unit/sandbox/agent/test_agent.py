"""The parts of the agent that need no sandbox: text, paths, patterns, file tools on a folder of ours."""

import os
from pathlib import Path
from typing import Any

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.glob import glob, matcher
from holdfast.sandbox.agent.grep import grep
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.output import FILES, OUTPUT_LIMIT, Output
from holdfast.sandbox.agent.read import read
from holdfast.sandbox.agent.text import clean
from holdfast.sandbox.agent.tools import FILE_TOOLS
from holdfast.sandbox.agent.write import edit, write
from holdfast.sandbox.tools import TOOLS


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path))


def text(blocks: list[dict[str, Any]]) -> str:
    return str(blocks[0]["text"])


def test_the_service_and_the_agent_know_the_same_tools() -> None:
    assert set(TOOLS) == {"bash", *FILE_TOOLS}


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain\n\ttext", "plain\n\ttext"), (b"\x1b[1;31mred\x1b[0m", "red"), (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]52;c;AAAA\x1b\\x", "x"), (b"\x1bPq#0\x1b\\x", "x"), (b"\x1b(Bx", "x"), (b"a\rb\r\nc", "a\nb\nc"),
        (b"a\x00b\x07\x7f", "a\\x00b\\x07\\x7f"), (b"\xff", "\ufffd"),
        ("\u202eevil\u2066".encode(), "\\u202eevil\\u2066"),
        (b"\x1b", "\\x1b"), (b"\x1b]never closed", ""), ("\x9b31mx".encode(), "x"),
        ("grün 漢字 🙂".encode(), "grün 漢字 🙂"),
    ],
)  # fmt: skip
def test_what_a_terminal_is_shown(data: bytes, shown: str) -> None:
    assert clean(data, terminal=True) == shown


def test_files_keep_their_line_ends() -> None:
    assert clean("a\r\nb\x1b[0m", terminal=False) == "a\r\nb\\x1b[0m"


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
    assert text(glob(root, {"pattern": "*"})).endswith("odd\\xff\n.txt")
    text(grep(root, {"pattern": "needle"})).encode()


def test_glob_shows_the_newest_first_and_tells_when_there_is_more(root: Root) -> None:
    for index in range(250):
        path = Path(root.path, f"f{index}")
        path.touch()
        os.utime(path, (index, index))
    lines = text(glob(root, {"pattern": "f*"})).split("\n")
    assert lines[0] == f"{root.path}/f249"
    assert len(lines) == 201
    assert lines[-1].startswith("[200 of 250 paths shown")
    assert text(glob(root, {"pattern": "none"})) == "no matches"


@pytest.mark.parametrize(
    ("view", "shown"),
    [([1, 1], "a"), ([2, 3], "b\nc"), ([2, -1], "b\nc\n"), ([2, 0], "b\nc\n"), ([0, 2], "a\nb"),
     ([3, 99], "c\n"), ([9, 9], None), ([3, 2], None)],
)  # fmt: skip
def test_view_ranges(root: Root, view: list[int], shown: str | None) -> None:
    Path(root.path, "f").write_text("a\nb\nc\n")
    assert text(read(root, {"file_path": "f", "view_range": view})) == (shown or "(no such lines)")


def test_reading_what_is_no_text_or_too_much_says_what_to_do(root: Root) -> None:
    Path(root.path, "empty").touch()
    Path(root.path, "binary").write_bytes(b"\xff\x00")
    Path(root.path, "big").write_text("x" * 300_000 + "\ny\n")
    assert text(read(root, {"file_path": "empty"})) == "(the file is empty)"
    for given, said in (
        ({"file_path": "binary"}, "not valid UTF-8"),
        ({"file_path": "big"}, "Use the view_range parameter"),
        ({"file_path": "big", "view_range": [1, 1]}, "alone exceeds"),
        ({"file_path": "big", "view_range": [1, 9]}, "Narrow the view_range"),
    ):
        with pytest.raises(ToolError, match=said):
            read(root, given)
    assert text(read(root, {"file_path": "big", "view_range": [2, 2]})) == "y"


def test_write_and_edit_keep_bytes_and_line_ends(root: Root) -> None:
    assert text(write(root, {"file_path": "x/y", "content": "é\r\n"})) == "wrote 4 bytes to x/y"
    assert Path(root.path, "x/y").read_bytes() == "é\r\n".encode()
    edit(root, {"file_path": "x/y", "old_string": "é", "new_string": "e"})
    assert Path(root.path, "x/y").read_bytes() == b"e\r\n"
    write(root, {"file_path": "x/y", "content": "a a"})
    assert "2 replacement" in text(
        edit(root, {"file_path": "x/y", "old_string": "a", "new_string": "b", "replace_all": True})
    )
    with pytest.raises(ToolError, match="old_string not found in x/y"):
        edit(root, {"file_path": "x/y", "old_string": "z", "new_string": ""})


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


def test_grep_searches_text_files_and_passes_over_the_rest(root: Root) -> None:
    Path(root.path, "a.txt").write_text("one\ntwo\n" + "x" * 5000 + "two\nlast two")
    Path(root.path, "b.bin").write_bytes(b"\0two")
    Path(root.path, "node_modules").mkdir()
    Path(root.path, "node_modules", "c.txt").write_text("two")
    found = text(grep(root, {"pattern": "tw."}))
    assert found == f"{root.path}/a.txt:2:two\n{root.path}/a.txt:4:last two"
    assert text(grep(root, {"pattern": "two", "path": "a.txt"})).endswith("last two")


def test_an_output_of_any_length_takes_little_memory(root: Root) -> None:
    output = Output(root)
    for _ in range(1000):
        output.add(b"x" * 65536)
    shown = output.text()
    assert len(shown) < 40_000
    assert "its first 16777216 bytes are in" in shown
    (kept,) = Path(root.path, ".holdfast/outputs").iterdir()
    assert kept.stat().st_size == 16 << 20


def test_only_so_many_outputs_are_kept(root: Root) -> None:
    for _ in range(FILES + 5):
        output = Output(root)
        output.add(b"x" * (OUTPUT_LIMIT + 1))
        assert "the whole output is in" in output.text()
    assert len(list(Path(root.path, ".holdfast/outputs").iterdir())) == FILES


def test_an_output_full_of_control_characters_is_bounded(root: Root) -> None:
    output = Output(root)
    output.add(b"\x00" * 90_000)
    assert len(output.text()) < OUTPUT_LIMIT


def test_the_agent_refuses_to_run_outside_of_a_sandbox() -> None:
    from holdfast.sandbox.agent.main import main  # noqa: PLC0415

    with pytest.raises(SystemExit, match="in a sandbox only"):
        main()
