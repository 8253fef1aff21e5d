"""The embedded stack from start to stop: what `holdfast up` does."""

import asyncio
import contextlib
import re
import shlex
import shutil
import signal
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from holdfast.bus.errors import BusError
from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.cli.embedded import detach, openbao, ready_message, registry, runfile
from holdfast.cli.embedded.disk_watch import DiskFull, DiskWatch, check_start
from holdfast.cli.embedded.layout import BadFolder, Busy, Layout
from holdfast.cli.embedded.model_endpoint import BadEndpoint
from holdfast.cli.embedded.packaged_files import Missing
from holdfast.cli.embedded.progress import StartProgress, StopProgress, UpConsole
from holdfast.cli.embedded.stack import PROVISIONED, Stack, data_folder
from holdfast.cli.embedded.supervisor import NotReady, Supervisor
from holdfast.cli.embedded.up_log import UpLog
from holdfast.cli.failure import tell
from holdfast.process import logs
from holdfast.process.settings import BadSettings

_INTERVAL: Final = re.compile(r"[1-9]\d{0,5}(ms|s|m)")

EXPECTED: Final = (BadFolder, Busy, DiskFull, BadEndpoint, Missing, NotReady, BusError, BadSettings)
"""Why a start may fail though nothing is wrong with us: said in a line or two, without a traceback."""

TRIM_EVERY: Final = 60.0
"""Seconds between two looks at the size of the logs."""

START_TIMEOUT: Final = 60.0
"""Seconds until everything must be ready; a slow disk or a busy machine is no reason to give up early."""


def run(
    data: Path | None, *, port: int | None, harnesses: int, sync: str, model_url: str = "", scripted: bool = False
) -> int:
    """Run the stack until it is stopped, and return the exit code. The arguments are those of `holdfast up`."""
    if sync != "always" and not _INTERVAL.fullmatch(sync):
        return _refuse(f'--sync must be "always" or an interval such as 1s or 2m, not {sync!r}')
    if scripted and model_url:
        return _refuse("--scripted and --model-url name two models: choose one of them")
    folder = data_folder(data)
    is_new = not folder.exists()
    try:
        check_start(folder)
        layout = Layout(folder)
        layout.open()
        logs.setup("up", "warning")
        with layout.explained():
            stack = Stack(layout, port=port, harnesses=harnesses, sync=sync, model_url=model_url, scripted=scripted)
    except EXPECTED as exc:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)  # nothing is in it but what was made just now
        return _refuse(_own_stack(exc) or str(exc))
    return uvloop.run(_Running(stack).run())


def _own_stack(exc: Exception) -> str:
    """The text for a port that another stack of this user has; empty for every other failure."""
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


def _expected(exc: BaseException) -> BaseException | None:
    """The exception of EXPECTED that `exc` is or holds as a group; None when it is a fault of ours."""
    if isinstance(exc, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        return next((found for each in inner if (found := _expected(each))), None)
    return exc if isinstance(exc, EXPECTED) else None


class _Running:
    """One run of a stack; `run` is called once."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._layout = stack.layout
        self._console = UpConsole(highlight=False)
        self._reporter = UpLog(self._layout.log("up"))
        self._supervisor = Supervisor(stack.programs, say=self._reporter.warn, changed=self._changed)
        self._progress = StartProgress(self._console, [program.name for program in stack.programs])
        self._is_ready = False

    async def run(self) -> int:
        """Start, run until a signal or a failure that was told, stop; returns the exit code."""
        began = time.monotonic()
        stopping = self._stop_on_signals()
        self._layout.run_file.unlink(missing_ok=True)
        self._reporter.say(f"starting in {self._layout.data}")
        try:
            if await self._start(stopping):
                self._is_ready = True
                self._changed()
                self._announce(time.monotonic() - began)
                self._reporter.detach()
                await _until(stopping, *self._watchers())
        except (Exception, BaseExceptionGroup) as exc:
            cause = _expected(exc)
            if cause is None:
                raise
            self._fail(cause)
            return 1
        finally:
            self._is_ready = False
            registry.unregister(self._stack.run_file({}))
            self._layout.run_file.unlink(missing_ok=True)
            await self._stop()
        return 0

    def _fail(self, cause: BaseException) -> None:
        """Tell the cause of a failure, once and before anything is stopped. A start that failed is stopped at once."""
        if isinstance(cause, NotReady):
            name, text = cause.name, f"{cause.cause}\nlog: {cause.log}"
        else:
            name, text = "holdfast up", str(cause)
        with contextlib.suppress(OSError):
            ready_message.error(UpConsole(stderr=True, highlight=False), name, text)
        self._reporter.log(f"{name}: {text}", "error")
        if not self._is_ready:
            self._supervisor.hurry()

    def _watchers(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs beside the stack for ever; one that raises what is in EXPECTED ends `holdfast up` with it."""
        nats_log = self._layout.log("nats")
        watch = DiskWatch(self._layout.data, nats_log, self._reporter, lambda: self._supervisor.restart("nats"))
        return (self._supervisor.failed(), _trim_logs(self._layout), watch.run())

    def _stop_on_signals(self) -> asyncio.Task[Any]:
        """A task that ends with the first signal to stop; the second one kills what has not ended."""
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                self._supervisor.hurry()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        return asyncio.create_task(stop.wait(), name="stop")

    def _changed(self) -> None:
        """Write run.json and show progress; called when a process has become ready or has died."""
        self._progress.update(self._supervisor.ready_at)
        if self._is_ready:
            try:
                runfile.write(self._layout.run_file, self._stack.run_file(self._supervisor.pids))
            except OSError as exc:
                self._reporter.warn(f"cannot write {self._layout.run_file}: {exc.strerror}")

    async def _start(self, stopping: asyncio.Task[Any]) -> bool:
        """Start everything; False when it was stopped before it was ready."""
        with self._progress:
            animation = asyncio.create_task(self._progress.animate(), name="progress")
            starting = asyncio.create_task(_start(self._supervisor, self._stack), name="start")
            try:
                await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    return True
            except (Exception, BaseExceptionGroup) as exc:
                cause = _expected(exc)
                self._progress.fail(cause.name if isinstance(cause, NotReady) else "")
                raise
            finally:
                animation.cancel()
                starting.cancel()
        return False

    def _announce(self, took: float) -> None:
        run = self._stack.run_file(self._supervisor.pids)
        try:
            registry.register(run)
        except OSError as exc:
            self._reporter.warn(f"other terminals must name --data: the list of stacks cannot be written ({exc})")
        notes = {topic: note for found in self._supervisor.notes.values() for topic, note in found.items()}
        several = len(registry.stacks()) > 1
        with contextlib.suppress(OSError):  # a terminal that was closed
            ready_message.show(
                self._console,
                run,
                scripted=self._stack.scripted,
                needs_data=several,
                notes=notes,
            )
        is_background = detach.in_background()
        self._reporter.say(f"ready after {took:.1f} s")
        down = f"holdfast down{ready_message.data_option(run, several)}"
        self._reporter.show(f"Stop it: {down if is_background else 'Ctrl-C'}")

    async def _stop(self) -> None:
        if self._supervisor.is_hurried:
            await self._supervisor.stop(self._stack.stop_order)
            return
        self._reporter.say("stopping")
        limit = max(program.grace for program in self._stack.programs)
        progress = StopProgress(self._console, self._reporter.say, limit)
        watching = asyncio.create_task(progress.watch(lambda: self._supervisor.stopping), name="stop-progress")
        await self._supervisor.stop(self._stack.stop_order)
        watching.cancel()
        await asyncio.wait({watching})
        self._reporter.say("stopped")


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
        with contextlib.suppress(OSError):  # no room for the copy: tried again in a minute
            layout.trim_logs()
        await asyncio.sleep(TRIM_EVERY)


async def _start(supervisor: Supervisor, stack: Stack) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_provision(supervisor, stack))
        tasks.create_task(_mark_initialised(supervisor, stack))
        await supervisor.start(START_TIMEOUT)


async def _provision(supervisor: Supervisor, stack: Stack) -> None:
    await supervisor.wait_for("nats")
    link = JetStreamClient()
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
