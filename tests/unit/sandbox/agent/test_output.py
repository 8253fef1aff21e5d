"""The output of a command, of any length."""

from pathlib import Path

from holdfast.sandbox.agent.files import Root
from holdfast.sandbox.agent.output import OUTPUT_CHARS, OUTPUT_FILES, Output


def test_an_output_of_any_length_takes_little_memory(root: Root) -> None:
    output = Output(root)
    for _ in range(1000):
        output.add(b"x" * 65536)
    shown = output.text()
    assert len(shown) < 40_000
    assert "its first 16777216 bytes are in" in shown
    (kept,) = Path(root.path, ".holdfast/outputs").iterdir()
    assert kept.stat().st_size == 16 << 20


def test_only_so_many_outputs_are_kept(root: Root) -> None:
    for _ in range(OUTPUT_FILES + 5):
        output = Output(root)
        output.add(b"x" * (OUTPUT_CHARS + 1))
        assert "the whole output is in" in output.text()
    assert len(list(Path(root.path, ".holdfast/outputs").iterdir())) == OUTPUT_FILES


def test_an_output_full_of_control_characters_is_bounded(root: Root) -> None:
    output = Output(root)
    output.add(b"\x00" * 90_000)
    assert len(output.text()) < OUTPUT_CHARS
