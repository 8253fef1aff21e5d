"""Markdown is split at the ends of complete blocks."""

import pytest

from holdfast.cli.client.terminal.markdown import first_block


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
