"""The tool `glob`, on a folder of the test."""

import os
import subprocess
from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.glob import glob, matcher
from holdfast.sandbox.agent.grep import grep
from holdfast.sandbox.agent.inputs import ToolError
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
        # F04: braces
        ("**/*.{test,spec}.{ts,tsx}", ["/a.test.ts", "/x/a.spec.tsx"], ["/a.ts", "/a.test.js"]),
        ("**/*.{ts,{js,jsx}}", ["/a.ts", "/x/a.js", "/a.jsx"], ["/a.tsx"]),
        ("{src/a,lib/b}/*.{js,tsx}", ["/src/a/x.js", "/lib/b/x.tsx"], ["/src/b/x.js", "/src/a/y/x.js"]),
        ("{a,b/c}", ["/a", "/b/c"], ["/c", "/b"]), ("{,x}a", ["/a", "/xa"], ["/ya"]),
        ("{**,b}/x", ["/a/x", "/x", "/b/x"], []),
        ("v{1..3}", ["/v1", "/v3"], ["/v4", "/v{1..3}"]), ("{a..c}x", ["/bx"], ["/dx"]), ("{a}", ["/{a}"], ["/a"]),
        ("{a,b", ["/{a,b"], ["/a"]), ("a}", ["/a}"], []), (r"\{a,b\}", ["/{a,b}"], ["/a"]),
        ("{a,{b}", ["/{a,{b}"], ["/a"]),
        (r"{a\,b,c}", ["/a,b", "/c"], ["/a"]), ("${x,y}", ["/$x", "/$y"], []),
        # literal brackets, sets and classes
        ("app/[id]/*.tsx", ["/app/[id]/page.tsx", "/app/i/page.tsx"], ["/app/x/page.tsx"]),
        ("[...slug].ts", ["/[...slug].ts", "/s.ts"], ["/x.ts"]), ("[[...slug]]", ["/[[...slug]]"], ["/x"]),
        ("[[:digit:]]*", ["/1a"], ["/a1"]), ("[[:upper:]x-z]", ["/A", "/y"], ["/a"]), ("[^[:alpha:]]", ["/1"], ["/a"]),
        ("[]a]", ["/]", "/a"], ["/b"]), ("[!]]", ["/a"], ["/]"]), ("[a-]", ["/-", "/a"], ["/b"]),
        (r"\[a]", ["/[a]"], ["/a"]),
        (r"[\]]", ["/]"], ["/a"]), ("[^a]b", ["/xb"], ["/ab", "/x/b", "/b"]), ("a[", ["/a["], []),
        ("[a]]", ["/a]", "/[a]]"], ["/a"]),
        ("a/(b)/*.x", ["/a/(b)/c.x"], []), ("*(1).pdf", ["/r(1).pdf"], []), ("a+b.$", ["/a+b.$"], ["/aab.$"]),
        (r"\*.md", ["/*.md"], ["/a.md"]), ("a/", ["/a", "/x/a"], []),
    ],
)  # fmt: skip
def test_patterns(pattern: str, matches: list[str], others: list[str]) -> None:
    match = matcher(pattern)
    for path in matches:
        assert match(path), path
    for path in others:
        assert not match(path), path


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("[[:nope:]]", "no class of characters"), ("[z-a]", "malformed pattern"),
    ("{1..99999}", "more than 1000 patterns"),
     ("{a,b}" * 11, "more than 1000 patterns"), ("../x", "not permitted"), ("{a,../x}", "not permitted"),
     ("/etc/*", "absolute pattern"), ("", "required"), ("{a,/b}", "absolute pattern")],
)  # fmt: skip
def test_a_pattern_that_cannot_be_read_is_an_error(pattern: str, said: str) -> None:
    with pytest.raises(ToolError, match=said):
        matcher(pattern)


def test_matches_are_found_however_many_other_files_there_are(root: Root) -> None:
    """Case F05."""
    for index in range(12):
        folder = Path(root.path, f"folder{index}/deep")
        folder.mkdir(parents=True)
        (folder / "target.py").touch()
    for index in range(55):
        folder = Path(root.path, f"node_modules/m{index}")
        folder.mkdir(parents=True)
        for other in range(1000):
            os.mknod(folder / f"{other}.js")
    lines = text_of(glob(root, {"pattern": "**/target.py"})).split("\n")
    assert sorted(lines) == sorted(f"{root.path}/folder{index}/deep/target.py" for index in range(12))
    shown = text_of(glob(root, {"pattern": "*.{py,js}"})).split("\n")
    assert all(line.endswith("target.py") for line in shown[:12]), "what is in a bulky folder comes last"
    assert shown[-1].startswith("[200 of 55012 paths shown")
    assert text_of(glob(root, {"pattern": "node_modules/m7/5.js"})).endswith("m7/5.js")


def test_a_search_that_takes_too_long_is_cut_and_says_so(root: Root) -> None:
    Path(root.path, "f").touch()
    assert text_of(glob(root, {"pattern": "f"}, search_s=-1)).startswith("no matches\n[cut after -1 s")


def test_a_folder_that_cannot_be_listed_is_named(root: Root) -> None:
    """A path may have 4,096 bytes, and a folder below it more."""
    fd = os.open(root.path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=fd)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    texts = [text_of(tool(root, {"pattern": "nowhere"})) for tool in (glob, grep)]
    subprocess.run(["rm", "-rf", Path(root.path, "d" * 250)], check=True)  # pytest cannot remove it
    for text in texts:
        assert text.startswith("no matches\n[folders that could not be listed: ddd"), text


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("!(src)/*.py", "{a,b}"),
        ("+(a|b)/x", "{a,b}"),
        ("src\\x\\*.py", "parted by /"),
        ("'*.py'", "quotes"),
        ("*.rs", ""),
    ],
)
def test_a_pattern_of_another_dialect_that_finds_nothing_has_a_hint(root: Root, pattern: str, said: str) -> None:
    Path(root.path, "x(1).py").touch()
    text = text_of(glob(root, {"pattern": pattern}))
    assert text.startswith("no matches")
    assert said in text
    assert ("[" in text) == bool(said)
    assert text_of(glob(root, {"pattern": "*(1).py"})).endswith("x(1).py")


def test_a_pattern_may_name_the_workspace(root: Root) -> None:
    Path(root.path, "src").mkdir()
    Path(root.path, "src/a.py").touch()
    assert text_of(glob(root, {"pattern": f"{root.path}/src/*.py"})) == f"{root.path}/src/a.py"


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
