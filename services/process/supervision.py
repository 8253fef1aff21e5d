"""Keeping the background duties of a process running: a fault in one of them ends neither it nor the process."""

from collections.abc import Awaitable, Callable

import structlog

from holdfast.process import failures
from holdfast.process.backoff import BUS_BACKOFF
from holdfast.process.retry import Pauses

Note = Callable[[str, str], None]
"""Records a note for the operator by its name; `Health.note` is one."""

log = structlog.get_logger()


def no_note(_name: str, _text: str) -> None:
    """The `note` of a duty whose failures are in the log only."""


async def supervised(duty: Callable[[], Awaitable[object]], note: Note = no_note, *, name: str = "") -> None:
    """Run `duty`, and begin it again after a pause whenever it raises an exception. Returns when it returns.

    The exception is in the log, and the number of failures in the note `duty <name>`. `name` is by default that of the
    function.
    """
    pauses, count, name = Pauses(BUS_BACKOFF), 0, name or getattr(duty, "__name__", "duty")
    while True:
        try:
            await duty()
        except Exception as exc:
            count += 1
            log.exception("a duty failed and begins again", duty=name, failures=count, failure=failures.bug("duty"))
            note(f"duty {name}", f"failed {count} times, last with {type(exc).__name__}")
        else:
            return
        await pauses.wait()
