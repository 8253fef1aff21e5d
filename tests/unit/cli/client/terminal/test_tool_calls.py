"""Tool calls, their results and the diff of an edit as people read them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.client.terminal.tool_calls import DIFF_LINES, RESULT_LINES, TITLE_CHARS, detail, result, title

KEYS = st.sampled_from(["command", "file_path", "content", "old_string", "new_string", "pattern", "path", "view_range"])

VALUES = st.one_of(st.none(), st.integers(), st.text(), st.lists(st.integers()), st.dictionaries(st.text(), st.text()))


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("bash", {"command": "pytest -q\n"}, "Bash(pytest -q)"),
        ("bash", {"command": "cd x\nmake"}, "Bash(cd x …) 2 lines"),
        ("bash", {"restart": True}, "Bash(restart the shell)"),
        ("write", {"file_path": "/workspace/poem.txt", "content": "a\nb\nc"}, "Write(poem.txt) +3 lines"),
        ("write", {"file_path": "a", "content": "x"}, "Write(a) +1 line"),
        ("edit", {"file_path": "calc.py", "old_string": "a", "new_string": "b"}, "Edit(calc.py)"),
        ("read", {"file_path": "a.py", "view_range": [3, 0]}, "Read(a.py) lines 3 to end"),
        ("glob", {"pattern": "**/*.py", "path": "/workspace/src"}, "Glob(**/*.py in src)"),
        ("grep", {"pattern": "x"}, "Grep(x)"),
        ("weather", {"city": "Rome", "days": 2}, "weather(city=Rome, days=2)"),
        ("read", {"file_path": 3}, "read(file_path=3)"),
        ("app/[id]", {"[bold]": "[/x]"}, "app/[id]([bold]=[/x])"),
        ("read", {"file_path": "a\nb\x1b[31m"}, "Read(a␊b)"),
    ],
)
def test_a_call_has_a_title(name: str, arguments: dict[str, Any], shown: str) -> None:
    assert title(name, arguments).plain == shown


@given(st.sampled_from(["bash", "read", "write", "edit", "glob", "grep", "other"]), st.dictionaries(KEYS, VALUES))
def test_any_call_can_be_shown(name: str, arguments: dict[str, Any]) -> None:
    shown = title(name, arguments).plain
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert len(shown) < TITLE_CHARS + 100
    assert len(detail(name, arguments)) <= DIFF_LINES


def test_an_edit_has_a_diff() -> None:
    lines = detail("edit", {"file_path": "a", "old_string": "one\ntwo\n", "new_string": "one\n2\n"})
    assert [(line.plain, str(line.style)) for line in lines][:3] == [
        ("  one", "dim"), ("- two", "red"), ("+ 2", "green")
    ]  # fmt: skip
    long = detail("edit", {"old_string": "", "new_string": "\n".join(map(str, range(100)))})
    assert long[-1].plain == "… 86 more lines"


def test_long_results_are_shortened_and_say_so() -> None:
    assert result("a\nb\n") == ["a", "b"]
    assert result("\n".join(map(str, range(100)))) == ["0", "1", "2", "3", "4", "5", "… 94 more lines"]
    wide = result("x" * 10_000)
    assert wide[-1] == "… 9,100 more characters"
    assert len("".join(wide)) < 1000
    assert len(result("y\n" * 6)) == RESULT_LINES
