"""`holdfast up`: the whole system on this machine, until Ctrl-C."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import uvloop
from cyclopts import Parameter, validators

from services.bus.ids import FIRST_CELL
from services.bus.nats_link import Link
from services.bus.provision import provision
from services.cli.embedded import openbao, runfile
from services.cli.embedded.layout import Busy, Layout
from services.cli.embedded.probes import Unexpected
from services.cli.embedded.programs import Missing
from services.cli.embedded.stack import PROVISIONED, Stack, data_folder
from services.cli.supervisor import NotReady, Supervisor
from services.process import logs

DEFAULT_PORT: Final = 8700
START_TIMEOUT: Final = 60.0
"""Seconds until everything must be ready; a slow disk or a busy machine is no reason to give up early."""


def say(line: str) -> None:
    print(line, flush=True)


def up(
    *,
    data: Path | None = None,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = DEFAULT_PORT,
    harnesses: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=64))] = 2,
    sync: str = "always",
) -> int:
    """Start the whole system on this machine and keep it running until Ctrl-C.

    Prints the base URL and the API key. The model is reached with ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL. A process
    that dies is started again; started again on the same data, every session continues.

    Examples:

        holdfast up

        ANTHROPIC_API_KEY=sk-... holdfast up --data ~/agents --port 9000

    Exit codes: 0 stopped as asked, 1 could not start or go on.

    Parameters
    ----------
    data
        Folder of all state and logs; made when missing. Default: HOLDFAST_DATA, else .holdfast here.
    port
        Port of the HTTP API on 127.0.0.1; 0 chooses a free one and keeps it for this folder.
    harnesses
        How many harness processes drive sessions.
    sync
        When an append is on disk: "always" (before it is acknowledged: survives power loss), or an interval such as
        "1s" (0.3 ms faster an append; a power cut may cost that much; a crash of a process costs nothing either way).
    """
    try:
        return uvloop.run(_run(data_folder(data), port, harnesses, sync))
    except (Busy, Missing, NotReady, Unexpected, PermissionError) as exc:
        print(f"holdfast up: {exc}", file=sys.stderr)
        return 1


async def _run(data: Path, port: int, harnesses: int, sync: str) -> int:
    began = time.monotonic()
    layout = Layout(data)
    layout.open()
    logs.setup("up", "warning")
    stack = Stack(layout, port=port, harnesses=harnesses, sync=sync)
    ready = False

    def changed() -> None:
        if ready:
            runfile.write(layout.run_file, stack.run_file(supervisor.pids))

    layout.run_file.unlink(missing_ok=True)
    supervisor = Supervisor(stack.programs, say=say, changed=changed)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    say(f"starting in {layout.data}")
    try:
        starting = asyncio.create_task(_start(supervisor, stack))
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            ready = True
            changed()
            _announce(stack, time.monotonic() - began)
            failing = asyncio.create_task(supervisor.failed())
            await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
            if failing.done():
                await failing
            failing.cancel()
        else:
            starting.cancel()
    finally:
        ready = False
        layout.run_file.unlink(missing_ok=True)
        say("stopping")
        await supervisor.stop(stack.stop_order)
        say("stopped")
    return 0


async def _start(supervisor: Supervisor, stack: Stack) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_provision(supervisor, stack))
        tasks.create_task(_mark_initialised(supervisor, stack))
        await supervisor.start(START_TIMEOUT)


async def _provision(supervisor: Supervisor, stack: Stack) -> None:
    await supervisor.wait_for("nats")
    link = Link()
    login = ("admin", stack.layout.nats_password("admin"))
    await link.open([stack.nats_url], name="provision", login=login)
    try:
        await provision(link, FIRST_CELL)
    finally:
        await link.close()
    supervisor.reached(PROVISIONED)


async def _mark_initialised(supervisor: Supervisor, stack: Stack) -> None:
    await supervisor.wait_for("vault")
    openbao.mark_initialised(stack.layout)


def _announce(stack: Stack, took: float) -> None:
    layout = stack.layout
    say(f"""
  base URL   {stack.base_url}
  API key    {layout.api_key()}
  data       {layout.data}
  logs       {layout.logs}
  for scripts: {layout.run_file}
""")
    if not stack.has_model_key:
        say("  No model key: set ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL) and start again.\n")
    say(f"ready after {took:.1f} s; Ctrl-C stops")
