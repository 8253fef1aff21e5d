"""The output of a command, of any length."""

from pathlib import Path

import pytest

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.output import HEAD_CHARS, OUTPUT_CHARS, TAIL_CHARS, Output, from_whole_character
from holdfast.sandbox.agent.output_file import OUTPUT_FILES


def kept(root: Root) -> list[Path]:
    folder = Path(root.path, ".holdfast/outputs")
    return list(folder.iterdir()) if folder.exists() else []


def shown(root: Root, data: bytes, size: int = 65536) -> str:
    output = Output(root)
    for at in range(0, len(data), size):
        output.add(data[at : at + size])
    return output.text()


def test_an_output_of_any_length_takes_little_memory(root: Root) -> None:
    output = Output(root)
    for _ in range(1000):
        output.add(b"x" * 65536)
    text = output.text()
    assert len(text) < 40_000
    assert "its first 16777216 bytes are in" in text
    assert f"[{65_536_000 - HEAD_CHARS - TAIL_CHARS} of 65536000 characters of output left out here" in text
    (file,) = kept(root)
    assert file.stat().st_size == 16 << 20


def test_only_so_many_outputs_are_kept(root: Root) -> None:
    for _ in range(OUTPUT_FILES + 5):
        assert "the whole output is in" in shown(root, b"x" * (OUTPUT_CHARS + 1))
    assert len(kept(root)) == OUTPUT_FILES


def test_an_output_full_of_control_characters_is_bounded(root: Root) -> None:
    assert len(shown(root, b"\x00" * 90_000)) < OUTPUT_CHARS


def test_limits_count_characters_and_not_bytes(root: Root) -> None:
    """Case S16: 60,000 emoji are 240,000 bytes."""
    assert shown(root, ("🙂" * 60_000).encode()) == "🙂" * 60_000
    assert kept(root) == []


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("size", [1_000_003, 65_536, 4_093])
def test_no_character_is_cut_in_half(root: Root, shift: int, size: int) -> None:
    """Case S16, and with text that has no line ends."""
    data = b"x" * shift + ("🙂" * 160_000).encode()
    text = shown(root, data, size)
    assert "\ufffd" not in text
    assert text.startswith("x" * shift + "🙂" * (HEAD_CHARS - shift))
    assert text.endswith("🙂" * TAIL_CHARS)
    (file,) = kept(root)
    assert file.read_bytes() == data


def test_the_end_of_a_long_output_is_its_last_characters(root: Root) -> None:
    lines = [f"line {n}\n" for n in range(30_000)]
    whole = "".join(lines)
    for size in (997, 65_536, 10**6):
        text = shown(root, whole.encode(), size)
        assert text.startswith(whole[:HEAD_CHARS])
        assert text.endswith(whole[-TAIL_CHARS:])
        assert f"[{len(whole) - HEAD_CHARS - TAIL_CHARS} of {len(whole)} characters" in text


def test_an_output_that_is_long_only_because_it_is_drawn_again_is_shown_and_needs_no_file(root: Root) -> None:
    data = b"start\n" + b"".join(b"\r[%-50s] %6d" % (b"#" * (n // 2000), n) for n in range(100_000)) + b"\nend\n"
    assert shown(root, data) == "start\n[" + "#" * 49 + " ]  99999\nend\n"
    assert kept(root) == []


def test_what_is_sent_while_a_command_runs_is_the_beginning_of_its_result(root: Root) -> None:
    output = Output(root)
    sent = output.add(b"a\rb\nc") + output.add("🙂".encode()[:2]) + output.add("🙂\n".encode()[2:] + b"d")
    assert sent == "b\nc🙂\n"
    assert output.text() == "b\nc🙂\nd"


def test_the_beginning_of_a_cut_is_moved_to_a_whole_character() -> None:
    for cut in range(4):
        data = bytearray("🙂x".encode()[cut:])
        assert from_whole_character(data).decode() == ("🙂x" if cut == 0 else "x")
    assert from_whole_character(bytearray(b"")) == b""
    assert from_whole_character(bytearray(b"\x80" * 9)) == b"\x80" * 9
