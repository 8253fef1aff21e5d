"""The output of a command as a terminal shows it in the end."""

import itertools
from random import Random

import pytest

from holdfast.sandbox.agent.terminal_text import LINE_CHARS, TerminalText

SHOWN = [
    (b"plain\n\ttext", "plain\n\ttext"), (b"\x1b[1;31mred\x1b[0m", "red"), (b"\x1b]0;title\x07x", "x"),
    (b"\x1b]52;c;AAAA\x1b\\x", "x"), (b"\x1bPq#0\x1b\\x", "x"), (b"\x1b(Bx", "x"),
    (b"a\x00b\x07\x7f", "a\\x00b\\x07\\x7f"), (b"\xff", "\ufffd"), (b"\x1b", "\\x1b"), ("\x9b31mx".encode(), "x"),
    ("\u202eevil\u2066".encode(), "\\u202eevil\\u2066"), ("grün 漢字 🙂".encode(), "grün 漢字 🙂"),
    # A line is shown in its last state.
    (b"a\rb\r\nc", "b\nc"), (b" 10%\r 20%\r100%\n", "100%\n"), (b"abc\rX", "Xbc"), (b"abc\r", "abc"),
    (b"abc\r\r\nd", "abc\nd"), (b"long text\r\x1b[Kok\n", "ok\n"), (b"long text\x1b[2K\rok\n", "ok\n"),
    (b"abc\x1b[1G\x1b[0KX", "X"), (b"|\b/\b-\b\\\b done", " done"), (b"N\bNA\bAM\bME\bE", "NAME"),
    (b"ab\b\b\b\bX", "Xb"),    (b"x\x1b[2Ky", " y"), (b"a\r\x1b[31mb\x1b[0m\n", "b\n"),
    # A sequence that is never ended swallows nothing.
    (b"\x1b]0;open\nline 1\nline 2", "0;open\nline 1\nline 2"), (b"\x1bPopen\nnext\n", "open\nnext\n"),
    (b"\x1b_apc\nnext", "apc\nnext"), (b"\x1b^pm\nnext", "pm\nnext"), (b"\x1bXsos\nnext", "sos\nnext"),
    (b"\x1b]never closed", "never closed"), (b"\x1b[31\nnext", "31\nnext"), (b"\x9d", "\ufffd"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "shown"), SHOWN)
def test_what_is_shown(data: bytes, shown: str) -> None:
    """Cases S13 and the carriage returns of issue 8 C, whole and byte by byte."""
    terminal = TerminalText()
    assert terminal.add(data) + terminal.end() == shown
    terminal = TerminalText()
    assert "".join(terminal.add(bytes([byte])) for byte in data) + terminal.end() == shown


@pytest.mark.parametrize("seed", range(200))
def test_however_output_is_cut_the_text_is_the_same(seed: int) -> None:
    random = Random(seed)
    data = b"".join(data for data, _ in random.choices(SHOWN, k=20))
    whole = TerminalText()
    terminal, text = TerminalText(), ""
    cuts = sorted(random.sample(range(len(data)), 10))
    for start, end in itertools.pairwise([0, *cuts, len(data)]):
        text += terminal.add(data[start:end])
    assert text + terminal.end() == whole.add(data) + whole.end()


@pytest.mark.parametrize("step", [b" %6d of 1000000 \r", b" %6d \x1b[K\r", b"\r\x1b[2K%6d", b"%6d\b\b\b\b\b\b"])
def test_a_bar_that_is_drawn_very_often_is_one_short_line(step: bytes) -> None:
    terminal, text = TerminalText(), "before\n"
    assert terminal.add(b"before\n") == text
    data = b"".join(step % n for n in range(50_000))
    for at in range(0, len(data), 7001):
        assert terminal.add(data[at : at + 7001]) == ""
    rest = terminal.end()
    assert "49999" in rest
    assert len(rest) < 30


def test_a_line_without_an_end_is_given_away_in_parts_that_cut_nothing() -> None:
    terminal = TerminalText()
    part = "🙂漢é\x1b[31mx\x1b[0m"
    data = (part * 10_000).encode()
    shown = [terminal.add(data[at : at + 4093]) for at in range(0, len(data), 4093)]
    assert max(map(len, shown)) <= LINE_CHARS + 4093
    assert "".join(shown) + terminal.end() == "🙂漢éx" * 10_000
    assert TerminalText().add(b"a\x1b]0;" + b"title " * 5000).startswith("a0;title")
