"""Markdown is split at the ends of complete blocks."""

from types import SimpleNamespace
from typing import Any
import pytest
from hypothesis import given
from hypothesis import strategies as st
from holdfast.cli.client.terminal.figures import Usage, duration, money, short_count
from holdfast.cli.client.terminal.markdown import first_block
from holdfast.cli.client.terminal.tool_calls import DIFF_LINES, RESULT_LINES, TITLE_CHARS, detail, result, title
from holdfast.cli.models import DEFAULT_MODEL, PRICES, price_of



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
def test_a_block_of_markdown_ends_only_where_the_next_text_cannot_belong_to_it(text: str, block: str) -> None:
    assert text[: first_block(text)] == block
