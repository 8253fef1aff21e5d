"""The tool `edit`: what `read` shows can be given back, line ends stay, and a miss comes with a hint."""

import os
import re
from pathlib import Path

import pytest

from holdfast.sandbox.agent.edit import edit
from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.inputs import ToolError
from holdfast.sandbox.agent.read import read
from tests.unit.sandbox.agent.conftest import text_of


def edited(root: Root, before: str, old: str, new: str, **more: bool) -> str:
    path = Path(root.path, "f")
    path.write_bytes(before.encode())
    edit(root, {"file_path": "f", "old_string": old, "new_string": new, **more})
    return path.read_bytes().decode()


def missed(root: Root, before: str, old: str, new: str = "new") -> str:
    with pytest.raises(ToolError) as caught:
        edited(root, before, old, new)
    assert Path(root.path, "f").read_bytes().decode() == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        # F01: lines of a file with CRLF
        ("one\r\ntwo\r\nthree\r\n", "one\ntwo", "1\n2\nx", "1\r\n2\r\nx\r\nthree\r\n"),
        ("one\r\ntwo\r\n", "two", "2\n3", "one\r\n2\r\n3\r\n"),
        ("one\r\ntwo\r\n", "one\r\ntwo", "1\r\n2", "1\r\n2\r\n"),
        ("one\r\ntwo\nthree\n", "one\ntwo", "1\n2", "1\r\n2\nthree\n"),  # mixed line ends
        ("one\r\ntwo\nthree\n", "two\nthree", "2\n3", "one\r\n2\n3\n"),
        ("one\ntwo\n", "one\ntwo", "1\n2", "1\n2\n"),
        # F14: characters that `read` spells out
        ("a\x0cb\n", "a\\x0cb", "a\\x0cc", "a\x0cc\n"), ("a\x0cb\n", "a\\x0cb", "ab", "ab\n"),
        ("\ufeffimport x\n", "\\ufeffimport x", "\\ufeffimport y", "\ufeffimport y\n"),
        ("\ufeffimport x\n", "import x", "import y", "\ufeffimport y\n"),
        ("a\u200fb\x85c\u2028d\n", "a\\u200fb\\x85c\\u2028d", "x\\u2028y", "x\u2028y\n"),
        ("\x1b[31mred\x1b[0m\n", "\\x1b[31mred\\x1b[0m", "\\x1b[32mgreen\\x1b[0m", "\x1b[32mgreen\x1b[0m\n"),
        (r"s = '\x0c'", r"'\x0c'", r"'\x0d\x0c'", r"s = '\x0d\x0c'"),  # a spelled-out escape is found as it is
        (r"s = '\u200f'", r"\u200f", "", "s = ''"),
        ("a\x0c\\x0c\n", "a\\x0c\\x0c", "b\\x0c", "b\\x0c\n"),  # both: what is new is what was typed
        ("a\x0cb\r\nc\r\n", "a\\x0cb\nc", "\\x0c\nd", "\x0c\r\nd\r\n"),
        ("a\u00a0b\n", "a\u00a0b", "a\u00a0c", "a\u00a0c\n"),
        ("\\x41\n", "\\x41", "A", "A\n"),
    ],
)  # fmt: skip
def test_what_is_found_and_how_it_is_replaced(root: Root, before: str, old: str, new: str, after: str) -> None:
    assert edited(root, before, old, new) == after


@pytest.mark.parametrize("code", [*range(1, 10), 11, 12, *range(14, 32),
0x7F, 0x80, 0x85, 0x9F, 0xA0, 0xAD, 0x61C, 0x200B,
                                  0x200E, 0x200F, 0x2028, 0x202E, 0x2066, 0xFEFF, 0x1F642, 0xFFFD])  # fmt: skip
def test_each_line_that_read_shows_is_found(root: Root, code: int) -> None:
    """The kind of F14: any character at the beginning, in the middle and at the end of a line."""
    char = chr(code)
    Path(root.path, "f").write_bytes(f"first\n{char}in{char}side{char}\nlast\n".encode())
    shown = text_of(read(root, {"file_path": "f", "view_range": [2, 2]}))
    edit(root, {"file_path": "f", "old_string": shown, "new_string": "x"})
    assert Path(root.path, "f").read_bytes() == b"first\nx\nlast\n"


def test_every_occurrence_in_its_own_way(root: Root) -> None:
    assert (
        edited(root, "a\x0c\na\\x0c\n", "a\\x0c", "b\\x0c", replace_all=True) == "a\x0c\nb\\x0c\n"
    )  # exact ones first
    assert edited(root, "a\x0c\r\nb\na\x0c\nb\n", "a\\x0c\nb", "\\x0c\nc", replace_all=True) == "\x0c\r\nc\n\x0c\nc\n"
    assert edited(root, "a a", "a", "b", replace_all=True) == "b b"
    assert text_of(edit(root, {"file_path": "f", "old_string": "b", "new_string": "c", "replace_all": True})) == (
        "edited f (2 replacement(s))"
    )


def test_a_text_that_occurs_more_than_once_is_refused_with_its_lines(root: Root) -> None:
    assert missed(root, "a\nb\na\n", "a") == "edit: old_string appears 2 times in f (must be unique): lines 1, 3"
    assert missed(root, "a\n" * 30, "a").endswith("lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...")
    assert "appears 2 times" in missed(root, "a\r\nb\r\na\r\nb\r\n", "a\nb")


@pytest.mark.parametrize(
    ("before", "old", "said"),
    [
        ("x\n    return a\ny\n", "\treturn a", "line 2.*column 1: the file has U.0020 SPACE, old_string a tab"),
        ("a\u00a0b c\n", "a b c", "line 1.*column 2: the file has U.00A0 NO-BREAK SPACE, old_string U.0020 SPACE"),
        ("say \u201chello\u201d\n", 'say "hello"', "line 1.*column 5: the file has U.201C LEFT DOUBLE QUOTATION MARK"),
        ("x = 1 \u2013 2\n", "x = 1 - 2", "U.2013 EN DASH, old_string '-'"),
        ("e\u0301t\u00e9\n", "\u00e9t\u00e9", "line 1"),
        ("def f(a, b):\n    return a\n", "def f(a, c):", "line 1.*column 10: the file has 'b', old_string 'c'"),
        ("one\ntwo \nthree\n", "one\ntwo\nthree", "line 2 .line 2 of old_string.*column 4: the file has U.0020 SPACE"),
        ("one\ntwo\nthree\n", "one\ntwo\nfour\n", "line 3 .line 3 of old_string.*'t' *, old_string 'f'"),
        ("    one\n    two\n", "one\ntwo", "line 2 .line 2 of old_string.*the file has U.0020 SPACE, old_string 't'"),
        ("nothing like it\n", "zzz()", "No line is like its first line; read the file again"),
        ("", "a", "The file is empty"),
        ("\n\n", "a", "nothing but white space"),
        ("value = compute(a)\n", "value = compute(b)", "line 1"),
    ],
)
def test_a_miss_has_a_hint(root: Root, before: str, old: str, said: str) -> None:
    text = missed(root, before, old).replace("\n", " ")
    assert text.startswith("edit: old_string not found in f. ")
    assert re.search(said, text), text


def test_an_edit_that_was_made_before_is_recognised(root: Root) -> None:
    assert "new_string is there already, in line 2" in missed(root, "x\nvalue = 2\n", "value = 1", "value = 2")


def test_a_miss_in_a_large_file_is_told_too(root: Root) -> None:
    lines = [f"line {n} of a large file with {n * 7} things" for n in range(5000)]
    assert "line 4001" in missed(root, "\n".join(lines), "line 4000 of a large file with 28000 thing$")
    assert "not found" in missed(root, "x" * 250_000, "y" * 1000)
    assert len(missed(root, "ab" * 100_000 + "\n", "ab" * 50 + "c")) < 2000


def test_what_cannot_be_edited_says_why(root: Root) -> None:
    Path(root.path, "binary").write_bytes(b"\xff\x00")
    Path(root.path, "big").write_bytes(b"x" * 300_000)
    os.mkfifo(Path(root.path, "fifo"))
    for path, said in (("binary", "not valid UTF-8"), ("big", "exceeds 262144-byte limit"), ("fifo", "not a regular")):
        with pytest.raises(ToolError, match=said):
            edit(root, {"file_path": path, "old_string": "x", "new_string": "y"})
    with pytest.raises(ToolError, match="must not be empty"):
        edit(root, {"file_path": "f", "old_string": "", "new_string": "y"})
