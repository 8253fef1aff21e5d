"""A mistake in a command line, said as every other error of the program is."""

from cyclopts import CycloptsError
from rich.text import Text


def usage_error(exc: CycloptsError) -> Text:
    """`holdfast up: what is wrong`, and where the options stand."""
    command = " ".join(["holdfast", *(exc.command_chain or ())])
    message = " ".join(str(exc).split())
    return Text(f"{command}: {message}\nSee: {command} --help")
