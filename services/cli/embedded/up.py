"""`holdfast up` in the foreground: checks the options and the folder, and runs the stack until it is stopped."""

import asyncio
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Final

from holdfast.cli.embedded import registry
from holdfast.cli.embedded.disk_watch import check_start
from holdfast.cli.embedded.layout import Busy, Layout, data_folder
from holdfast.cli.embedded.stack import Stack
from holdfast.cli.embedded.stack_run import EXPECTED, StackRun
from holdfast.cli.failure import tell

_SYNC_INTERVAL: Final = re.compile(r"[1-9]\d{0,5}(ms|s|m)")


def run(
    data: Path | None, *, port: int | None, harnesses: int, sync: str, model_url: str = "", scripted: bool = False
) -> int:
    """Run the stack until it is stopped, and return the exit code. The arguments are those of `holdfast up`."""
    if sync != "always" and not _SYNC_INTERVAL.fullmatch(sync):
        return _refuse(f'--sync must be "always" or an interval such as 1s or 2m, not {sync!r}')
    if scripted and model_url:
        return _refuse("--scripted and --model-url name two models: choose one of them")
    folder = data_folder(data)
    is_new = not os.path.lexists(folder)  # no error for a path that cannot be
    try:
        layout = Layout(folder)
        with layout.explained():
            check_start(folder)
        layout.open()
        with layout.explained():
            stack = Stack(layout, port=port, harnesses=harnesses, sync=sync, model_url=model_url, scripted=scripted)
            programs = stack.prepare()
    except EXPECTED as exc:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)  # all that is in it was made just now
        return _refuse(_own_stack(exc) or str(exc))
    return asyncio.run(StackRun(stack, programs).run())


def _own_stack(exc: Exception) -> str:
    """The text if another stack of this user has the port; empty for every other failure."""
    port = exc.port if isinstance(exc, Busy) else 0
    run = next((run for run in registry.stacks() if port and run.base_url.endswith(f":{port}")), None)
    if run is None:
        return ""
    return (
        f"your stack in {run.data} has the address {run.base_url}.\n"
        f"Use it as it is, stop it (holdfast down --data {shlex.quote(run.data)}), "
        "or start this one beside it with --port 0."
    )


def _refuse(text: str) -> int:
    tell("up", text)
    return 1
