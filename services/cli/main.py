"""The `holdfast` program: one module per command, each registered in one line."""

import sys
from importlib.metadata import version

from cyclopts import App

from services.cli.up import up

app = App(
    name="holdfast",
    help="Long-running AI agents on your own machines: sessions that cannot be lost, in real sandboxes.",
    version=version("holdfast"),
)
app.command(up)


def main() -> None:
    """Entry point; the value of a command is the exit code."""
    sys.exit(app(result_action="return_value"))
