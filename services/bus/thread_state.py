"""The state of one thread of a session, and how model requests and rests change it. Pure.

Part of the fold of the log: `head` applies these to the thread that an event names.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev

Status = Literal["idle", "running", "rescheduling", "terminated"]


class Thread(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation with a context of its own. `todo`: the next step is a model request."""

    status: Status = "idle"
    stop: ev.StopReason | None = None
    todo: bool = False
    interrupted: bool = False
    request: str = ""
    """Id of the model request that has started and not ended."""
    rounds: int = 0
    """Tool-use rounds in this turn."""
    unfinished: int = 0
    """Responses in a row that were truncated or paused, and made no call that can run."""
    truncated_call: bool = False
    """The last of them was truncated inside a tool call."""
    full: bool = False
    """The last response filled the context window: a compaction comes before the next request."""
    compactions: int = 0
    """Compactions since the last answer."""
    errors: int = 0
    """Failed model requests since the last good one."""
    broken: int = 0
    """Those of them whose response had begun, or was unusable."""
    failing_since: int = 0
    """When the first of them failed (microseconds, Unix)."""
    told_at: int = 0
    """When `session.error` last reported one of them (microseconds, Unix)."""
    retry_at: int = 0
    """Earliest time of the next model request (microseconds, Unix). A new message ends the wait."""
    context_tokens: int = 0
    """Tokens of the last request and its answer together: how full the context is."""


def idle(thread: Thread, stop: ev.StopReason) -> Thread:
    """The thread after its run ended with `stop`. Folding the same stop twice changes nothing."""
    ended = stop.type != "requires_action"
    return replace(
        recovered(thread) if ended else thread, status="idle", stop=stop, interrupted=False, request="",
        retry_at=0, compactions=0 if ended else thread.compactions,
        unfinished=0 if ended else thread.unfinished,
        todo=thread.todo and stop.type != "retries_exhausted",
    )  # fmt: skip


def failed(thread: Thread, retry_at: int, at: int) -> Thread:
    """A model request failed at `at` and is to be made again at `retry_at`; both in microseconds, Unix."""
    since = thread.failing_since or at
    return replace(thread, errors=thread.errors + 1, failing_since=since, retry_at=retry_at)


def recovered(thread: Thread) -> Thread:
    """The thread after a model request that did not fail."""
    return replace(thread, errors=0, broken=0, failing_since=0, told_at=0, retry_at=0)


def model_ended(thread: Thread, event: ev.ModelRequestEnd, at: int, *, called: bool, runs: bool) -> Thread:
    """The thread after a model request ended at `at` (microseconds, Unix).

    `called`: the thread has open calls, which are those of the response. `runs`: at least one of them can run.
    """
    thread = replace(thread, request="", broken=thread.broken + event.broke_off)
    if event.retry_at:
        thread = failed(thread, event.retry_at, at)
    if event.is_error or event.stop == "compaction":
        return thread
    used = event.model_usage
    unfinished = not runs if event.stop in ev.TRUNCATED_STOPS else event.stop in ev.CONTINUED_STOPS and not called
    todo = thread.todo if thread.interrupted else bool(event.missed) or (unfinished and not called)
    full = event.stop == ev.CONTEXT_FULL_STOP
    return replace(
        recovered(thread),
        todo=todo,
        rounds=thread.rounds + called,
        unfinished=thread.unfinished + 1 if unfinished else 0,
        truncated_call=unfinished and called,
        full=full,
        compactions=thread.compactions if full else 0,
        context_tokens=used.input_tokens
        + used.output_tokens
        + used.cache_read_input_tokens
        + used.cache_creation_input_tokens,
    )
