"""What the runner of a session does next for one of its threads: a decision from the head (rule 6). Pure."""

from typing import Any, Literal

import msgspec

from holdfast.bus.events import ModelRequestStart, StopReason
from holdfast.bus.head import Call, Hand, Head, Thread, waits_for_client
from holdfast.bus.ids import NewId
from holdfast.harness.tools.call_order import due

CHARS_PER_TOKEN = 4
"""Characters that are counted as one token when the size of a request is estimated."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a turn."""

    rounds: int = 1000
    """Tool-use rounds in one turn."""
    compactions: int = 3
    """Compactions in a row without a response between them."""
    unfinished: int = 8
    """Responses in a row that are truncated or paused and make no call that can run."""
    response_tokens: int = 16_384
    """The largest number of tokens in one response, for the text of an error."""
    context_tokens: int = 160_000
    """A request that would be larger is preceded by a compaction."""


class Interrupt(msgspec.Struct, frozen=True):
    """Close the thread's open calls and become idle, because the user interrupted it (rule 18)."""


class Abandon(msgspec.Struct, frozen=True):
    """End the model request `request`: the runner that started it is gone."""

    request: str


class RunTools(msgspec.Struct, frozen=True):
    """Send every call of the thread that is due to its hand and wait for results."""


class Resume(msgspec.Struct, frozen=True):
    """Append the events that show that an idle session runs again."""


class Sleep(msgspec.Struct, frozen=True):
    """Wait until `until` (microseconds, Unix) or until an input arrives."""

    until: int


class Compact(msgspec.Struct, frozen=True):
    """Have the model summarise the history."""


class CallModel(msgspec.Struct, frozen=True):
    """Send a request to the model."""


class Release(msgspec.Struct, frozen=True):
    """The thread rests, and the claim is given up once all threads do (rule 8).

    `stop` None: the thread is idle already. `error` is appended before it becomes idle.
    """

    stop: StopReason | None = None
    error: dict[str, Any] | None = None


class View(msgspec.Struct, frozen=True):
    """What the next step of one thread depends on. While it is the same, the step is the same (rule 6)."""

    ended: bool
    """True if the session is archived or deleted."""
    state: Thread
    calls: tuple[Call, ...]
    """The thread's open calls, and those of other threads on the hands that it uses: they are lost together."""
    hands: dict[str, Hand | None]
    """The hands that its ready calls run on, by name."""


Step = Interrupt | Abandon | RunTools | Resume | Sleep | Compact | CallModel | Release


def error(kind: str, message: str, retry: Literal["retrying", "exhausted", "terminal"]) -> dict[str, Any]:
    """The `error` of a `session.error` event."""
    return {"type": kind, "message": message, "retry_status": {"type": retry}}


def decide(  # noqa: PLR0911  the order of the cases is the protocol
    head: Head, *, now: int, fresh_chars: int, limits: Limits, thread: str
) -> Step:
    """The next step of that thread. `fresh_chars`: size of what its next request adds to the last one."""
    if head.archived or head.deleted:
        return Release()
    state = head.thread(thread)
    if state.interrupted:
        return Interrupt()
    if state.request:
        return Abandon(state.request)
    if due(head, thread):
        return RunTools()
    if waiting := waits_for_client(head, thread):
        shown = state.stop.event_ids if state.stop and state.stop.type == "requires_action" else None
        return Release() if shown == waiting else Release(StopReason("requires_action", waiting))
    if state.todo:
        return _answer(state, now, fresh_chars // CHARS_PER_TOKEN, limits)
    return Release() if state.status == "idle" else Release(StopReason("end_turn"))


def view(head: Head, thread: str) -> View:
    """The part of `head` that the thread's steps depend on. What other threads append changes it only on its hands."""
    names = {c.hand for c in head.calls if c.thread == thread and c.state == "ready"}
    calls = tuple(c for c in head.calls if c.thread == thread or c.hand in names)
    hands = {name: head.hands.get(name) for name in names}
    return View(bool(head.archived or head.deleted), head.thread(thread), calls, hands)


def _answer(state: Thread, now: int, fresh_tokens: int, limits: Limits) -> Step:
    """The next step towards a response that the thread owes."""
    if spent := _spent(state, limits):
        return Release(StopReason("retries_exhausted"), spent)
    if state.retry_at > now:
        return Sleep(state.retry_at)
    if state.status == "idle":
        return Resume()
    if state.full or state.context_tokens + fresh_tokens > limits.context_tokens:
        if state.compactions >= limits.compactions:
            text = "What the model must see does not fit its context even after summarising. Send less at once."
            return Release(StopReason("retries_exhausted"), error("compaction_limit_reached_error", text, "exhausted"))
        if state.full or state.context_tokens:
            return Compact()
    return CallModel()


def _spent(state: Thread, limits: Limits) -> dict[str, Any] | None:
    """The error after too many rounds of tools, or too many responses in a row that did not come to an end."""
    if state.rounds >= limits.rounds:
        text = f"The turn used its {limits.rounds} rounds of tool calls. Send a message to go on."
        return error("tool_use_limit_reached_error", text, "exhausted")
    if state.unfinished < limits.unfinished:
        return None
    what = f"The last {state.unfinished} responses of the model were cut off, by the limit of {limits.response_tokens} "
    what += "tokens of a response or by its context window"
    if state.truncated_call:
        text = f"{what}, before their tool call was complete. No such call was run. Send a message to go on."
        return error("tool_use_limit_reached_error", text, "exhausted")
    return error(
        "model_request_failed_error", f"{what}, or paused, and came to no end. Send a message to go on.", "exhausted"
    )


def request_start(
    head: Head, *, now: int, fresh_chars: int, limits: Limits, thread: str, new_id: NewId
) -> ModelRequestStart | None:
    """The start of a model request if that is the next step; it goes into the commit that leads to `head`."""
    step = decide(head, now=now, fresh_chars=fresh_chars, limits=limits, thread=thread)
    return ModelRequestStart(id=new_id("sevt"), thread=thread) if isinstance(step, CallModel) else None
