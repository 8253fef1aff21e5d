"""Text for a terminal: ordinary text is unchanged, and nothing controls the terminal."""
# ruff: noqa: RUF001  letters of other alphabets are what is tested

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.sanitize import clean, clean_line

OBEYED = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))} - {"\n", "\t"}
TURNING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
PIECES = st.sampled_from(
    [
        "\x1b",
        "[",
        "]",
        "0;",
        "31m",
        "\x07",
        "\x9b",
        "\x9d",
        "\\",
        "P",
        "(",
        "B",
        "\r",
        "\n",
        "a",
        "\u202e",
        "\ud800",
        " ",
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        "5\u00a0€",
        "1\u202f000",
        "👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🏴\U000e0067\U000e0062\U000e007f",
        "Donau\u00addampf",
        "\u200fשלום\u200e, \u061cمرحبا",
        "e\u0301 नमस्ते می\u200cخواهم",
        "\ue0b0 private use",
        "a\tb\n\n  c  \n",
        "─│┌ → ✓",
    ],
)
def test_ordinary_text_passes_unchanged(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[H\x1b[?25lgone", "gone"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGk=\x07", ""),
        ("\x1bP1;2|payload\x1b\\x", "x"),
        ("\x1b(B\x1bc\x1b7x", "x"),
        ("\x9b31mred\x9d0;t\x9cx", "redx"),
        ("\x1b]0;never ended\nnext", "␛]0;never ended\nnext"),
        ("cut \x1b[31", "cut ␛[31"),
        ("\x1b\x1b[31m[31m", "␛[31m"),
        ("bell\x07 back\x08 del\x7f nel\x85", "bell␇ back␈ del␡ nel\ufffd"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("user\u202e)drowssap", "user\ufffd)drowssap"),
        ("\u2066x\u2069", "\ufffdx\ufffd"),
        ("name\udcff", "name\ufffd"),
    ],
)
def test_control_sequences_are_removed_or_shown(given_: str, shown: str) -> None:
    assert clean(given_) == shown


@given(st.one_of(st.text(st.characters()), st.lists(PIECES).map("".join)))
def test_cleaned_text_is_safe_and_stays_the_same(text: str) -> None:
    made = clean(text)
    assert not OBEYED & set(made)
    assert not TURNING & set(made)
    made.encode()  # no surrogate is left
    assert clean(made) == made


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters=TURNING)))
def test_text_without_controls_is_never_changed(text: str) -> None:
    assert clean(text) == text
    assert not {unicodedata.category(c) for c in clean_line(text)} & {"Cc", "Cs"}


def test_a_line_stays_one_line() -> None:
    assert clean_line("a\nb\tc\x1b[1m\r") == "a␊b␉c␊"
