"""The `holdfast` program: one module per command, each registered in one line."""

import sys
from importlib.metadata import version

from cyclopts import App

from holdfast.cli import demo, scripted
from holdfast.cli.down import down
from holdfast.cli.env import env
from holdfast.cli.logs import logs
from holdfast.cli.run import run
from holdfast.cli.sessions import sessions
from holdfast.cli.status import status
from holdfast.cli.tail import tail
from holdfast.cli.up import up
from holdfast.cli.usage_error import usage_error

app = App(
    name="holdfast",
    help="Long-running AI agents on your own machines: sessions that cannot be lost, in real sandboxes.",
    version=version("holdfast-agents"),
    error_formatter=usage_error,
)
app.command(up)
app.command(env)
app.command(run)
app.command(sessions)
app.command(tail)
app.command(status)
app.command(logs)
app.command(down)
# Named by their place, because what they import would slow down every other command.
app.command(
    "holdfast.cli.demo.command:demo",
    name="demo",
    help=demo.HELP,
)
app.command(
    "holdfast.cli.scripted.command:scripted_model",
    name="scripted-model",
    help=scripted.HELP,
)


def main() -> None:
    """Entry point; the value of a command is the exit code."""
    sys.exit(app(result_action="return_value"))
