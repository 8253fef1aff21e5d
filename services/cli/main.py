"""The `holdfast` program: one module per command, each registered in one line."""

import sys
from importlib.metadata import version

from cyclopts import App

from holdfast.cli.apply import apply
from holdfast.cli.diff import diff
from holdfast.cli.down import down
from holdfast.cli.env import env
from holdfast.cli.logs import logs
from holdfast.cli.run import run
from holdfast.cli.sessions import sessions
from holdfast.cli.status import status
from holdfast.cli.tail import tail
from holdfast.cli.up import up

app = App(
    name="holdfast",
    help="Long-running AI agents on your own machines: sessions that cannot be lost, in real sandboxes.",
    version=version("holdfast-agents"),
)
app.command(up)
app.command(env)
app.command(run)
app.command(sessions)
app.command(diff)
app.command(apply)
app.command(tail)
app.command(status)
app.command(logs)
app.command(down)
# Named by their place, because what they import would slow down every other command.
app.command(
    "holdfast.cli.demo.command:demo",
    name="demo",
    help="Watch an agent repair a small program while the process that drives it is killed.",
)
app.command(
    "holdfast.cli.scripted.command:scripted_model",
    name="scripted-model",
    help="Play a scenario over the Messages API, in place of a model.",
)


def main() -> None:
    """Entry point; the value of a command is the exit code."""
    sys.exit(app(result_action="return_value"))
