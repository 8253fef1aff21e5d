"""Formats a mistake in a command line as every other error of the program."""

from cyclopts import CycloptsError, UnusedCliTokensError
from rich.text import Text


def usage_error(exc: CycloptsError) -> Text:
    """`holdfast up: the mistake`, and the command that prints the options."""
    command = " ".join(["holdfast", *(exc.command_chain or ())])
    if isinstance(exc, UnusedCliTokensError):
        message = f"too many arguments: {' '.join(exc.unused_tokens or ())}"
    else:
        message = " ".join(str(exc).split())
    return Text(f"{command}: {message}\nSee: {command} --help")
