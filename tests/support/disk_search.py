"""Looks for texts in every file below a folder, as whoever finds the disk would."""

from collections.abc import Iterable
from pathlib import Path

from tests.support.eventually import eventually


def found_on_disk(folder: Path, texts: Iterable[str]) -> list[str]:
    """`file: text` for each text that a file below the folder holds. Files that vanish meanwhile are left out."""
    wanted = list(texts)
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        try:
            data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        except OSError:
            continue
        found += [f"{path.relative_to(folder)}: {text}" for text in wanted if text.encode() in data]
    return found


async def nothing_on_disk(folder: Path, texts: Iterable[str], *, within: float = 30.0) -> None:
    """Wait until no file below the folder holds any of the texts. Raises AssertionError that names those that do."""
    wanted = list(texts)
    left: list[str] = []

    async def look() -> bool:
        left[:] = found_on_disk(folder, wanted)
        return not left

    try:
        await eventually(look, within=within, what="nothing on the disk")
    except AssertionError as exc:
        raise AssertionError(f"{exc}; still there: {left}") from None


async def all_on_disk(folder: Path, texts: Iterable[str], *, within: float = 20.0) -> None:
    """Wait until each of the texts is in a file below the folder. Raises AssertionError that names those that are not.

    Without this a test would pass that looks for what never was there.
    """
    wanted = list(texts)
    missing: list[str] = []

    async def look() -> bool:
        found = found_on_disk(folder, wanted)
        missing[:] = [text for text in wanted if not any(line.endswith(f": {text}") for line in found)]
        return not missing

    try:
        await eventually(look, within=within, what="all on the disk")
    except AssertionError as exc:
        raise AssertionError(f"{exc}; missing: {missing}") from None
