"""Blocking work beside the event loop that must not hold up the end of the process."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_daemon_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As `asyncio.to_thread`, in a thread of its own that is left behind when the caller is cancelled.

    At its end the loop waits for the threads of `asyncio.to_thread`, which may be running a slow program of the host.
    """
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        with contextlib.suppress(concurrent.futures.InvalidStateError):  # cancelled meanwhile
            try:
                done.set_result(function(*args, **kwargs))
            except Exception as exc:  # noqa: BLE001  it is raised in the caller
                done.set_exception(exc)

    threading.Thread(target=run, name=getattr(function, "__name__", "work"), daemon=True).start()
    return await asyncio.wrap_future(done)
