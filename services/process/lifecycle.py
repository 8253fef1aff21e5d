"""Start, signals, drain and exit code of a service process.

The first SIGTERM or SIGINT sets the stop event and starts the drain; a second one ends the process at once. A crash is
one line in the log. Exit codes: 0 stopped after a signal, 1 crashed, 2 bad settings, 3 the drain took too long, 128+n
ended by a second signal n.
"""

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn, TypeVar, cast

import structlog
import uvloop

from holdfast.process import fork_server, logs, telemetry
from holdfast.process.descriptors import raise_descriptor_limit
from holdfast.process.go import wait_for_go
from holdfast.process.settings import BadSettings, ProcessSettings, load

CRASHED: Final = 1
BAD_SETTINGS: Final = 2
DRAIN_EXCEEDED: Final = 3

CLEAN_UP_TIMEOUT_S: Final = 1.0
"""Time that `main` has to end after it was cancelled because its drain took too long."""

_PR_SET_DUMPABLE: Final = 4

S = TypeVar("S", bound=ProcessSettings)


def forbid_inspection() -> None:
    """Allow no core file, and let no process of the same user read memory, environment or descriptors of this one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE, 0)")


def cause_of(exc: BaseException) -> str:
    """Type and text of an exception in one line, without secrets. Of an exception group: its first leaf."""
    while isinstance(exc, BaseExceptionGroup):
        exc = cast("BaseExceptionGroup[BaseException]", exc).exceptions[0]
    text = " ".join(str(exc).split())
    return logs.scrub(f"{type(exc).__name__}: {text}" if text else type(exc).__name__)


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, drain: float = 5.0) -> None:
    """Run `main(stop)` on uvloop until it returns. Raises SystemExit with one of the exit codes above, unless it is 0.

    After the first signal `main` has `drain` seconds to return; then it is cancelled.
    """
    faulthandler.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_supervise(main, drain))
    except BadSettings as exc:
        _refuse(exc)
    except BaseExceptionGroup as exc:
        bad = exc.subgroup(BadSettings)
        if bad is not None:
            _refuse(bad)
        _crash(exc)
    except Exception as exc:  # noqa: BLE001  every exception ends the process with its cause in one line
        _crash(exc)
    finally:
        telemetry.shutdown()
    if code:
        sys.exit(code)


def _preload_nothing(_settings: ProcessSettings) -> None:
    """The `preload` of a service whose modules do not depend on its settings."""


def launch(
    service: str,
    kind: type[S],
    main: Callable[[S, asyncio.Event], Coroutine[Any, Any, None]],
    *,
    preload: Callable[[S], None] = _preload_nothing,
) -> None:
    """Forbid inspection, allow many descriptors, read the settings, set up logs and telemetry, wait for the go if there
    is one to come, and `run` with the drain time of the settings. `preload` loads the modules that are needed with
    these settings, before the wait.

    A process that is a fork server loads the modules and does the rest in its forks only.
    """
    forbid_inspection()
    raise_descriptor_limit()
    if fork_server.is_wanted():
        _serve_forks(kind, preload)
    try:
        settings = load(kind)
        logs.setup(service, settings.log_level)
        telemetry.setup(service)
    except (BadSettings, ValueError) as exc:
        logs.setup(service)
        _refuse(exc)
    preload(settings)
    wait_for_go()
    fork_server.end_with_orderer()
    run(lambda stop: main(settings, stop), drain=settings.drain_timeout)


def _serve_forks(kind: type[S], preload: Callable[[S], None]) -> None:
    """Returns in each fork. Bad settings end the server without a word: the service itself, started next, says why."""
    try:
        settings = load(kind)
    except (BadSettings, ValueError):
        sys.exit(BAD_SETTINGS)
    gc.disable()  # collections take a seventh of the import of the SDK and find next to nothing; on again in a fork
    preload(settings)
    fork_server.serve()


def _refuse(exc: BaseException) -> NoReturn:
    structlog.get_logger().critical("cannot start", cause=cause_of(exc))
    sys.exit(BAD_SETTINGS)


def _crash(exc: BaseException) -> NoReturn:
    structlog.get_logger().critical("crashed", cause=cause_of(exc), exc_info=exc)
    sys.exit(CRASHED)


async def _supervise(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]], drain: float) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        structlog.get_logger().info("stopping", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    task = loop.create_task(main(stop), name="main")
    stopping = loop.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=drain)
        if task.done():
            await task
            return 0
        structlog.get_logger().error("the drain took too long", drain=drain)
        task.cancel()
        _, late = await asyncio.wait({task}, timeout=CLEAN_UP_TIMEOUT_S)
        if late:
            os._exit(DRAIN_EXCEEDED)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return DRAIN_EXCEEDED
    finally:
        stopping.cancel()
