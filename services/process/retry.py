"""Repeating what failed, with growing pauses, and keeping a watch for ever.

All time is that of the event loop, so that this also runs in virtual time. The known libraries (tenacity, and stamina
on top of it) measure with `time.monotonic`, which the simulation of the protocol cannot move.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import structlog

from holdfast.process.backoff import BUS_BACKOFF, Backoff

T = TypeVar("T")

Errors = type[Exception] | tuple[type[Exception], ...]

_log = structlog.get_logger()


class Pauses:
    """The pauses of one loop: they grow with each failure, and begin anew if it then worked for `longest_s`."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0
        self._resumed_at = 0.0
        """Time of the event loop at which the last pause was over."""

    def next_s(self) -> float:
        """Count a failure. Returns the seconds to wait before the next attempt."""
        now = asyncio.get_running_loop().time()
        worked = now - self._resumed_at > self._backoff.longest_s
        self._failures = 1 if worked else self._failures + 1
        pause = self._backoff.pause_s(self._failures, random.random())  # noqa: S311  not a secret
        self._resumed_at = now + pause
        return pause

    async def wait(self) -> None:
        """Count a failure and wait."""
        await asyncio.sleep(self.next_s())


class Attempts:
    """`async for number in Attempts(backoff)` counts from 1 and pauses before each attempt but the first.

    The loop ends after `limit` attempts; no attempt begins later than `timeout_s` seconds after the first. Without
    either it does not end by itself.
    """

    def __init__(self, backoff: Backoff, *, limit: int | None = None, timeout_s: float | None = None) -> None:
        self._pauses = Pauses(backoff)
        self._limit = limit
        self._timeout_s = timeout_s
        self._number = 0
        self._began_at = 0.0

    def __aiter__(self) -> "Attempts":
        return self

    async def __anext__(self) -> int:
        clock = asyncio.get_running_loop().time
        if self._number == self._limit:
            raise StopAsyncIteration
        if self._number:
            await self._pauses.wait()
            if self._timeout_s is not None and clock() - self._began_at > self._timeout_s:
                raise StopAsyncIteration
        else:
            self._began_at = clock()
        self._number += 1
        return self._number


async def retrying(
    action: Callable[[], Awaitable[T]],
    *,
    on: Errors,
    unless: Errors = (),
    what: str,
    backoff: Backoff = BUS_BACKOFF,
    limit: int | None = None,
    **fields: Any,
) -> T:
    """The result of `action`, which is called again after each error in `on`. It must be safe to repeat.

    Raises an error in `unless` and any other error at once, and that of attempt number `limit`. Each repetition is one
    line of the log, which names `what` is done and has `fields`. Without a limit it ends with the task that runs it.
    """
    pauses, failures = Pauses(backoff), 0
    while True:
        try:
            return await action()
        except unless:
            raise
        except on as exc:
            failures += 1
            if failures == limit:
                raise
            _log.info("retry", what=what, attempt=failures, cause=str(exc) or type(exc).__name__, **fields)
        await pauses.wait()


async def keep_watching(
    watch: Callable[[], Awaitable[object]], *, on: Errors, what: str, backoff: Backoff = BUS_BACKOFF, **fields: Any
) -> NoReturn:
    """Call `watch` again whenever it returns or raises an error in `on`, after a pause, until cancelled.

    `watch` reads the present state and then follows its changes, so nothing is missed between two calls. Each error is
    one line of the log, which names `what` is watched and has `fields`. Raises any other error.
    """
    pauses = Pauses(backoff)
    while True:
        try:
            await watch()
        except on as exc:
            _log.warning("watch.interrupted", what=what, cause=str(exc) or type(exc).__name__, **fields)
        await pauses.wait()
