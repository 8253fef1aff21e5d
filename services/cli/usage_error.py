"""Formats a mistake in a command line as every other error of the program."""

from typing import TYPE_CHECKING

from cyclopts import CycloptsError, UnusedCliTokensError

if TYPE_CHECKING:
    from rich.text import Text


def usage_error(exc: CycloptsError) -> "Text":
    """`holdfast up: the mistake`, and the command that prints the options."""
    from rich.text import Text  # noqa: PLC0415  not for a command line without a mistake

    command = " ".join(["holdfast", *(exc.command_chain or ())])
    if isinstance(exc, UnusedCliTokensError):
        message = f"too many arguments: {' '.join(exc.unused_tokens or ())}"
    else:
        message = " ".join(str(exc).split())
    return Text(f"{command}: {message}\nSee: {command} --help")
