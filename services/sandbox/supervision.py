"""Keeping the background duties of a worker running: a fault of one of them ends no sandbox."""

from collections.abc import Awaitable, Callable

import structlog

from holdfast.process.backoff import BUS_BACKOFF
from holdfast.process.retry import Pauses
from holdfast.sandbox.availability import Report

log = structlog.get_logger()


async def supervised(duty: Callable[[], Awaitable[None]], report: Report) -> None:
    """Run `duty`, and begin it again after a pause whenever it raises an exception. Returns when it returns.

    The exception is in the log, and the number of failures in the note `duty <name>` of the health of the process.
    """
    pauses, failures, name = Pauses(BUS_BACKOFF), 0, getattr(duty, "__name__", "duty")
    while True:
        try:
            await duty()
        except Exception as exc:
            failures += 1
            log.exception("a duty failed and begins again", duty=name, failures=failures)
            report.note(f"duty {name}", f"failed {failures} times, last with {type(exc).__name__}")
        else:
            return
        await pauses.wait()
