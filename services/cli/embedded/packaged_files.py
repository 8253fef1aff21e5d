"""What the stack needs beside its own code: programs, and the files of deploy/ that an operator reads too."""

from pathlib import Path


class Missing(Exception):
    """Part of the installation cannot be found; the text says what to install."""


def packaged(name: str, folder: str) -> str:
    """Text of deploy/<folder>/<name>, which an installed package carries beside this module. Raises Missing."""
    beside = Path(__file__).with_name(name)
    source = Path(__file__).parents[3] / "deploy" / folder / name
    for path in (beside, source):
        if path.exists():
            return path.read_text()
    raise Missing(f"{name} is missing from this installation")
