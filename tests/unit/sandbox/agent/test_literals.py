"""A text that every match of a regular expression contains."""

import re
from random import Random

import pytest

from holdfast.sandbox.agent.literals import required_literal

PARTS = (
    "a", "b", "ab", "cab", "é", r"\.", r"\(", r"\\", r"\d", r"\w", r"\s", r"\b", "^", "$", ".", "[ab]", "[^a]", "[]b]",
    r"[\]a]", "a+", "b*", "c?", "a{2}", "b{0,1}", "{", "}", "]", "(ab)", "(a|b)", "(?:ab)", "(c)?", "|", "(?i:a)",
    r"\x61", r"\t", "a{", " ", "\ufffd", "(?=a)", r"(a)\1", "(?!b)",
)  # fmt: skip

WORDS = ("ab", "cab", "abab", "aab", "a", "b", "c", "é", ".", " ", "(", "\\", "1", "{", "]", "\ufffd")


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("def compile", "def compile"), (r"class \w+Error", "class "), (r"foo\(\)", "foo()"),
        ("import (os|sys)", "import "),
        ("a+bc", "bc"), ("abc+", "abc"), ("abc?", "ab"), ("abcd{2}", "abc"), ("a|b", ""), ("(?i)abc", ""), (r"\d+", ""),
        ("(abc)?de", "de"), ("", ""), ("x{y}", "{y}"), ("[abc]def", "def"), (r"\x41bc", ""), ("a\ufffdbc", "bc"),
        (f"a{chr(0xD800)}bc", "bc"),
    ],
)  # fmt: skip
def test_the_longest_required_text(pattern: str, literal: str) -> None:
    assert required_literal(pattern) == literal


def test_every_match_contains_it() -> None:
    """Random patterns that are valid, on random lines."""
    random = Random(1)
    matches = useful = 0
    while matches < 5000:
        pattern = "".join(random.choices(PARTS, k=random.randint(1, 6)))
        try:
            search = re.compile(pattern).search
        except re.error:
            continue
        literal = required_literal(pattern)
        for _ in range(5):
            line = "".join(random.choices(WORDS, k=random.randint(0, 8)))
            if search(line):
                assert literal in line, (pattern, line)
                matches += 1
                useful += len(literal) > 1
    assert useful > 100
