"""Text that is safe to show, and blocks that the service accepts."""

import pytest

from holdfast.sandbox.agent.text import RESULT_CHARS, spelled, text_block
from holdfast.sandbox.drivers.frames import RESULT_TEXT_CHARS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext\r\n", "plain\n\ttext\r\n"), ("b\x1b[0m", "b\\x1b[0m"), ("a\x00b\x07\x7f", "a\\x00b\\x07\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"), ("\ufeffx\x0c\x85", "\\ufeffx\\x0c\\x85"),
        ("odd\udcff\ud83d", "odd\\xff\\ud83d"), ("grün 漢字 🙂", "grün 漢字 🙂"),
    ],
)  # fmt: skip
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    assert spelled(text) == shown
    assert spelled(shown) == shown
    shown.encode()


def test_a_block_is_never_empty_or_longer_than_the_service_takes() -> None:
    assert text_block("")["text"]
    long = text_block("\x00" * RESULT_CHARS)["text"]
    assert RESULT_CHARS < len(long) < RESULT_TEXT_CHARS
    assert long.endswith(f"[cut: {RESULT_CHARS} of {4 * RESULT_CHARS} characters shown]")
