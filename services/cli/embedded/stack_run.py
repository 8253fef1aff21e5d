"""One run of the embedded stack: start, watch, stop."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final, cast

from holdfast.bus.errors import BusError
from holdfast.cli.embedded import detach, ready_message, registry, runfile
from holdfast.cli.embedded.disk_watch import DiskFull, DiskWatch
from holdfast.cli.embedded.layout import BadFolder, Busy, Layout
from holdfast.cli.embedded.model_endpoint import BadEndpoint
from holdfast.cli.embedded.packaged_files import Missing
from holdfast.cli.embedded.program import NotReady, Program
from holdfast.cli.embedded.progress import StartProgress, StopProgress, UpConsole
from holdfast.cli.embedded.stack import Stack
from holdfast.cli.embedded.start import start
from holdfast.cli.embedded.supervisor import Supervisor
from holdfast.cli.embedded.up_log import UpLog
from holdfast.process.settings import BadSettings

EXPECTED: Final = (BadFolder, Busy, DiskFull, BadEndpoint, Missing, NotReady, BusError, BadSettings)
"""Errors that are no bugs of ours: printed in a line or two, without a traceback."""

LOG_TRIM_INTERVAL_S: Final = 60.0
"""Seconds between two checks of the size of the logs."""


class StackRun:
    """One run of a stack; `run` is called once."""

    def __init__(self, stack: Stack, programs: Sequence[Program]) -> None:
        self._stack = stack
        self._programs = programs
        self._layout = stack.layout
        self._console = UpConsole(highlight=False)
        self._log = UpLog(self._layout.log("up"))
        self._supervisor = Supervisor(programs, say=self._log.warn, changed=self._changed)
        self._progress = StartProgress(self._console, [program.name for program in programs])
        self._is_ready = False

    async def run(self) -> int:
        """Start, run until a signal or an EXPECTED failure, stop; returns the exit code."""
        began = time.monotonic()
        stopping = self._stop_on_signals()
        self._layout.run_file.unlink(missing_ok=True)
        self._log.say(f"starting in {self._layout.data}")
        try:
            if await self._start(stopping):
                self._is_ready = True
                self._changed()
                self._announce(time.monotonic() - began)
                self._log.detach()
                await _until(stopping, *self._watchers())
        except (Exception, BaseExceptionGroup) as exc:
            cause = _expected(exc)
            if cause is None:
                raise
            self._fail(cause)
            return 1
        finally:
            self._is_ready = False
            # On a file system that became read-only this fails, and the programs must end all the same.
            with contextlib.suppress(OSError):
                registry.unregister(self._stack.run_file({}))
                self._layout.run_file.unlink(missing_ok=True)
            await self._stop()
        return 0

    def _fail(self, cause: BaseException) -> None:
        """Print the cause of a failure before anything is stopped. After a failed start all programs are killed."""
        if isinstance(cause, NotReady):
            name, text = cause.name, f"{cause.cause}\nlog: {cause.log}"
        else:
            name, text = "holdfast up", str(cause)
        with contextlib.suppress(OSError):
            ready_message.error(UpConsole(stderr=True, highlight=False), name, text)
        self._log.log(f"{name}: {text}", "error")
        if not self._is_ready:
            self._supervisor.hurry()

    def _watchers(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The background tasks of a running stack. None returns; an error of EXPECTED from one ends `holdfast up`."""
        nats_log = self._layout.log("nats")
        watch = DiskWatch(self._layout.data, nats_log, self._log, lambda: self._supervisor.restart("nats"))
        return (self._supervisor.failed(), _trim_logs(self._layout), watch.run())

    def _stop_on_signals(self) -> asyncio.Task[Any]:
        """A task that is done at the first signal to stop. The second signal kills the programs that have not ended."""
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                self._supervisor.hurry()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        return asyncio.create_task(stop.wait(), name="stop")

    def _changed(self) -> None:
        """Write run.json and show progress. Called when a program has become ready or has died."""
        self._progress.update(self._supervisor.ready_at)
        if self._is_ready:
            try:
                runfile.write(self._layout.run_file, self._stack.run_file(self._supervisor.pids))
            except OSError as exc:
                self._log.warn(f"cannot write {self._layout.run_file}: {exc.strerror}")

    async def _start(self, stopping: asyncio.Task[Any]) -> bool:
        """Start all programs; False if a signal came before they were ready."""
        with self._progress:
            animation = asyncio.create_task(self._progress.animate(), name="progress")
            starting = asyncio.create_task(start(self._supervisor, self._stack), name="start")
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
        """Make the stack known to other terminals, and print the block that says how to use it."""
        run = self._stack.run_file(self._supervisor.pids)
        try:
            registry.register(run)
        except OSError as exc:
            self._log.warn(f"other terminals must name --data: the list of stacks cannot be written ({exc})")
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
        self._log.say(f"ready after {took:.1f} s")
        down = f"holdfast down{ready_message.data_option(run, several)}"
        self._log.show(f"Stop it: {down if is_background else 'Ctrl-C'}")

    async def _stop(self) -> None:
        """Stop all programs, with progress unless they are killed at once."""
        if self._supervisor.is_hurried:
            await self._supervisor.stop(self._stack.stop_order)
            return
        self._log.say("stopping")
        limit = max(program.stop_timeout for program in self._programs)
        progress = StopProgress(self._console, self._log.say, limit)
        watching = asyncio.create_task(progress.watch(lambda: self._supervisor.stopping), name="stop-progress")
        await self._supervisor.stop(self._stack.stop_order)
        watching.cancel()
        await asyncio.wait({watching})
        self._log.say("stopped")


def _expected(exc: BaseException) -> BaseException | None:
    """The exception of EXPECTED that `exc` is or holds as a group; None when it is a fault of ours."""
    if isinstance(exc, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", exc).exceptions
        return next((found for each in inner if (found := _expected(each))), None)
    return exc if isinstance(exc, EXPECTED) else None


async def _until(stopping: asyncio.Task[Any], *endless: Coroutine[Any, Any, None]) -> None:
    """Wait until `stopping` is done or one of `endless` raises, and raise that exception."""
    tasks = [asyncio.create_task(work) for work in endless]
    done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in done:
        task.result()


async def _trim_logs(layout: Layout) -> None:
    """Trim the logs every LOG_TRIM_INTERVAL_S until cancelled."""
    while True:
        with contextlib.suppress(OSError):  # no room for the copy: tried again in a minute
            layout.trim_logs()
        await asyncio.sleep(LOG_TRIM_INTERVAL_S)
