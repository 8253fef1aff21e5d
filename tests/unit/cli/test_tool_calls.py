"""Calls, results, diffs, figures and prices as people read them."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.client.terminal.figures import Usage, duration, money, short_count
from holdfast.cli.client.terminal.markdown import first_block
from holdfast.cli.client.terminal.tool_calls import DIFF_LINES, RESULT_LINES, TITLE_CHARS, detail, result, title
from holdfast.cli.models import DEFAULT_MODEL, price_of

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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_times_are_words(seconds: float, words: str) -> None:
    assert duration(seconds).replace("60 s", "1 min 0 s") == words


def test_money_comes_from_the_price_table_or_not_at_all() -> None:
    usage = Usage()
    usage.add(SimpleNamespace(input_tokens=1_000_000, output_tokens=100_000, cache_read_input_tokens=2_000_000,
                              cache_creation_input_tokens=400_000))  # fmt: skip
    usage.add(SimpleNamespace(input_tokens=None, output_tokens=None))
    assert usage.words(price_of("claude-sonnet-4-5-20250929")) == [
        "tokens: 1,400,000 in, 100,000 out, 2,000,000 from cache", "$6.60"
    ]  # fmt: skip
    assert usage.words(price_of("qwen3-coder")) == ["tokens: 1,400,000 in, 100,000 out, 2,000,000 from cache"]
    assert Usage().words(price_of(DEFAULT_MODEL)) == []
    assert [money(0), money(0.0042), money(0.123), money(12.3), money(0.0001)] == [
        "$0.00", "$0.0042", "$0.12", "$12.30", "under $0.001"
    ]  # fmt: skip
    assert [short_count(n) for n in (950, 1234, 3_400_000)] == ["950", "1.2k", "3.4M"]


def test_prices_are_those_of_the_named_model_only() -> None:
    for model, dollars in ((DEFAULT_MODEL, 2), ("claude-opus-5-5", 4), ("claude-opus-5", 5)):
        price = price_of(model)
        assert price
        assert price.input == dollars
    assert price_of("claude-opus-4-5-20251101") == price_of("claude-opus-4-5") is not None
    for unknown in ("claude-opus-5-9", "claude-sonnet", "claude-haiku-5-5", "gpt-5", ""):
        assert price_of(unknown) is None, unknown


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("one\n\ntwo", "one\n\n"),
        ("one\n\n", ""),
        ("one\ntwo", ""),
        ("```\na\n\nb\n```\n\nnext", "```\na\n\nb\n```\n\n"),
        ("```\na\n\nb", ""),
        ("1. a\n\n   more\n2. b\n\nend", "1. a\n\n   more\n2. b\n\n"),
        ("````\n```\n\nx\n````\n\ny", "````\n```\n\nx\n````\n\n"),
        ("\n\na\n\nb", "\n\na\n\n"),
    ],
)
def test_a_block_of_markdown_ends_where_it_is_certain(text: str, block: str) -> None:
    assert text[: first_block(text)] == block
