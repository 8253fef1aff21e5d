"""The embedded stack from start to stop: what `holdfast up` does."""

import asyncio
import re
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from holdfast.bus.errors import BusError
from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.nats_link import Link
from holdfast.bus.provision import provision
from holdfast.cli.embedded import detach, openbao, runfile
from holdfast.cli.embedded.disk_watch import DiskFull, DiskWatch, check_start
from holdfast.cli.embedded.layout import Busy, Layout
from holdfast.cli.embedded.probes import Unexpected
from holdfast.cli.embedded.programs import Missing
from holdfast.cli.embedded.reporter import Reporter
from holdfast.cli.embedded.stack import PROVISIONED, Stack, data_folder
from holdfast.cli.supervisor import NotReady, Supervisor
from holdfast.process import logs
from holdfast.process.settings import BadSettings

_INTERVAL: Final = re.compile(r"[1-9]\d{0,5}(ms|s|m)")

EXPECTED: Final = (Busy, DiskFull, Missing, NotReady, Unexpected, BusError, BadSettings, PermissionError)
"""Why a start may fail though nothing is wrong with us: said in a line or two, without a traceback."""

TRIM_EVERY: Final = 60.0
"""Seconds between two looks at the size of the logs."""

START_TIMEOUT: Final = 60.0
"""Seconds until everything must be ready; a slow disk or a busy machine is no reason to give up early."""


def run(data: Path | None, port: int, harnesses: int, sync: str) -> int:
    """Run the stack until it is stopped, and return the exit code."""
    if sync != "always" and not _INTERVAL.fullmatch(sync):
        print(f'holdfast up: --sync must be "always" or an interval such as 1s or 2m, not {sync!r}', file=sys.stderr)
        return 1
    try:
        return uvloop.run(_run(data_folder(data), port, harnesses, sync))
    except EXPECTED as exc:
        cause: BaseException = exc
    except BaseExceptionGroup as group:
        known = group.subgroup(EXPECTED)
        if known is None:
            raise
        cause = known
        while isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
    print(f"holdfast up: {cause}", file=sys.stderr)
    return 1


async def _run(data: Path, port: int, harnesses: int, sync: str) -> int:
    began = time.monotonic()
    check_start(data)
    layout = Layout(data)
    layout.open()
    logs.setup("up", "warning")
    stack = Stack(layout, port=port, harnesses=harnesses, sync=sync)
    reporter = Reporter(layout.log("up"))
    ready = False

    def changed() -> None:
        if ready:
            try:
                runfile.write(layout.run_file, stack.run_file(supervisor.pids))
            except OSError as exc:  # such as a full disk, which must not end the stack
                reporter.warn(f"run.json is out of date: {exc.strerror}")

    layout.run_file.unlink(missing_ok=True)
    supervisor = Supervisor(stack.programs, say=reporter.warn, changed=changed)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    reporter.say(f"starting in {layout.data}")
    try:
        starting = asyncio.create_task(_start(supervisor, stack))
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            ready = True
            changed()
            _announce(stack, reporter)
            reporter.say(f"ready after {time.monotonic() - began:.1f} s")
            reporter.detach()
            watch = DiskWatch(layout.data, layout.log("nats"), reporter, lambda: supervisor.restart("nats"))
            await _until(stopping, supervisor.failed(), _trim_logs(layout), watch.run())
        else:
            starting.cancel()
    finally:
        ready = False
        layout.run_file.unlink(missing_ok=True)
        reporter.say("stopping")
        await supervisor.stop(stack.stop_order)
        reporter.say("stopped")
    return 0


async def _until(stopping: asyncio.Task[Any], *endless: Coroutine[Any, Any, None]) -> None:
    """Wait until we are asked to stop, or one of the endless ones raises."""
    tasks = [asyncio.create_task(work) for work in endless]
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()


async def _trim_logs(layout: Layout) -> None:
    while True:
        layout.trim_logs()
        await asyncio.sleep(TRIM_EVERY)


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


def _announce(stack: Stack, reporter: Reporter) -> None:
    layout = stack.layout
    reporter.show(f"""
  base URL   {stack.base_url}
  API key    {layout.api_key()}
  data       {layout.data}
  logs       {layout.logs}
  for scripts: {layout.run_file}
""")
    if not stack.has_model_key:
        reporter.show("  No model key: set ANTHROPIC_API_KEY (and ANTHROPIC_BASE_URL) and start again.\n")
    reporter.show("  stop it: holdfast down\n" if detach.in_background() else "  stop it: Ctrl-C\n")
