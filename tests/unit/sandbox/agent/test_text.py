"""Text that is safe to show."""

import pytest

from holdfast.sandbox.agent.text import clean


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain\n\ttext", "plain\n\ttext"), (b"\x1b[1;31mred\x1b[0m", "red"), (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]52;c;AAAA\x1b\\x", "x"), (b"\x1bPq#0\x1b\\x", "x"), (b"\x1b(Bx", "x"), (b"a\rb\r\nc", "a\nb\nc"),
        (b"a\x00b\x07\x7f", "a\\x00b\\x07\\x7f"), (b"\xff", "\ufffd"),
        ("\u202eevil\u2066".encode(), "\\u202eevil\\u2066"),
        (b"\x1b", "\\x1b"), (b"\x1b]never closed", ""), ("\x9b31mx".encode(), "x"),
        ("grün 漢字 🙂".encode(), "grün 漢字 🙂"),
    ],
)  # fmt: skip
def test_what_a_terminal_is_shown(data: bytes, shown: str) -> None:
    assert clean(data, terminal=True) == shown


def test_files_keep_their_line_ends() -> None:
    assert clean("a\r\nb\x1b[0m", terminal=False) == "a\r\nb\\x1b[0m"
