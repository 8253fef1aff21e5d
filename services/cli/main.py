"""The `holdfast` program. Each command is a module of `commands`, registered by one word in COMMANDS."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from cyclopts import App, Parameter

from holdfast.cli import standard_streams
from holdfast.cli.commands.answer import answer
from holdfast.cli.commands.apply import apply
from holdfast.cli.commands.attach import attach
from holdfast.cli.commands.bindings import bindings
from holdfast.cli.commands.demo import demo
from holdfast.cli.commands.diff import diff
from holdfast.cli.commands.down import down
from holdfast.cli.commands.env import env
from holdfast.cli.commands.explain import explain
from holdfast.cli.commands.files import files
from holdfast.cli.commands.keys import keys
from holdfast.cli.commands.logs import logs
from holdfast.cli.commands.parked import parked
from holdfast.cli.commands.run import run
from holdfast.cli.commands.sessions import sessions
from holdfast.cli.commands.status import status
from holdfast.cli.commands.tail import tail
from holdfast.cli.commands.tasks import tasks
from holdfast.cli.commands.up import up
from holdfast.cli.commands.webhooks import webhooks
from holdfast.cli.empty_paths import empty_path
from holdfast.cli.exit_codes import FAILED, INTERRUPTED, PIPE_CLOSED, USAGE
from holdfast.cli.usage_error import usage_error
from holdfast.scripted_model.command import scripted_model

COMMANDS: Final = (
    up, run, sessions, attach, answer, diff, apply, tail, explain, files, bindings, tasks, webhooks, status, logs,
    parked, keys, env, down, demo, scripted_model,
)  # fmt: skip
"""In the order of use, which is the order of `holdfast --help`. Each imports what it needs only when it runs."""


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415  the import takes as long as all commands together

    return version("holdfast-agents")


app = App(
    name="holdfast",
    help="Long-running AI agents on your own machines: sessions that cannot be lost, in real sandboxes.",
    version=_version,
    error_formatter=usage_error,
    default_parameter=Parameter(show_default=False),  # the texts say what happens without an option
)
for _place, _command in enumerate(COMMANDS):
    app.command(_command, sort_key=_place)


@app.command(name="version", sort_key=len(COMMANDS))
def show_version() -> int:
    """Print the version."""
    print(_version())
    return 0


def main() -> None:
    """Entry point; the value of a command is the exit code."""
    standard_streams.prepare()
    if found := empty_path(sys.argv[1:], COMMANDS):
        print(f"holdfast {found} needs a path; its value is empty (a variable that is not set?)", file=sys.stderr)
        sys.exit(USAGE)
    try:
        code = app(result_action="return_value")
        sys.stdout.flush()
    except KeyboardInterrupt:  # while a command was still being loaded
        code = INTERRUPTED
    except BrokenPipeError:
        standard_streams.lost()
        code = PIPE_CLOSED
    except OSError as exc:
        code = _explained(exc)
    sys.exit(code)


def _explained(exc: OSError) -> int:
    """The exit code for an error that the surroundings of the command have caused; any other is raised again."""
    if standard_streams.lost():
        code, cause = FAILED, f"the output cannot be written: {os.strerror(exc.errno or 0)}"
    elif _current_folder_is_gone():
        code, cause = USAGE, "the current folder does not exist any more: change to another one"
    else:
        raise exc
    with contextlib.suppress(OSError):
        print(f"holdfast: {cause}", file=sys.stderr)
    standard_streams.lost()  # the errors may go to the same full disk
    return code


def _current_folder_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
