"""Inputs into events: what a commit that takes them from the inbox holds (rules 4 and 5). Pure."""

from collections.abc import Sequence

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.head import Call, Head, advance, waits_for_client
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import CallResult, ClientInput, PendingInput
from holdfast.harness.models.sanitize import result_blocks

INTERRUPTED = "The execution was interrupted before it was completed. Try again if it is still needed."
LOST = "The sandbox was lost, so this call did not finish. Its processes are gone; the files of /workspace are kept."
DENIED = "The user rejected the use of this tool."


class Ingested(msgspec.Struct, frozen=True):
    """Events to append, and the last sequence and the client input ids that they cover."""

    events: list[ev.Event]
    seq: int
    ids: tuple[str, ...]
    progress: bool
    """Whether a tool result is among them."""


def running(config: ev.SessionConfig, thread: str = "") -> list[ev.Event]:
    """The two events that show a session at work (order of C.5)."""
    shown = thread or config.primary_thread
    return [
        ev.SessionStatusRunning(id=new_id("sevt"), thread=thread),
        ev.ThreadStatusRunning(
            id=new_id("sevt"), thread=thread, agent_name=str(config.agent["name"]), session_thread_id=shown
        ),
    ]


def text(message: str) -> list[ev.Block]:
    return [{"type": "text", "text": message}]


def ingest(head: Head, config: ev.SessionConfig, inputs: Sequence[PendingInput]) -> Ingested:
    """The events of those inputs, ids kept. Total: what cannot be used only moves `taken`.

    In order, but for results of tools: they go first, so that what was said while a tool ran follows its result.
    """
    events: list[ev.Event] = []
    ids: list[str] = []
    progress = False
    for waiting in sorted(inputs, key=lambda w: not isinstance(w.input, CallResult)):
        new: list[ev.Event] = []
        match waiting.input:
            case ClientInput() as given if given.id not in head.recent and given.id not in ids and not head.deleted:
                ids.append(given.id)
                new = _client(head, config, given)
            case CallResult() as result:
                new = _result(head, result)
                progress = progress or bool(new)
            case _:
                pass
        head = advance(head, new, head.at + 1)
        events += new
    return Ingested(events, inputs[-1].seq if inputs else 0, tuple(ids), progress)


def may_wait(head: Head, inputs: Sequence[PendingInput]) -> bool:
    """Whether those inputs are best left where they are for now: only messages, while tools still run."""
    if not inputs or not any(c.state == "ready" for c in head.calls):
        return False
    return all(
        isinstance(w.input, ClientInput) and all(isinstance(e, ev.UserMessage) for e in w.input.events) for w in inputs
    )


def _client(head: Head, config: ev.SessionConfig, given: ClientInput) -> list[ev.Event]:
    if head.archived:
        return list(given.events)
    out: list[ev.Event] = []
    answered = False
    denials: list[ev.Event] = []

    def add(*events: ev.Event) -> None:
        nonlocal head
        head = advance(head, events, head.at + 1)
        out.extend(events)

    for event in given.events:
        match event:
            case ev.UserMessage() if head.primary.status == "idle" and not head.calls:
                add(*running(config), event)
            case ev.UserToolConfirmation(tool_use_id=call_id) if _in_state(head, call_id, "ask"):
                answered = True
                add(event)
                if event.result == "deny":
                    why = f"{DENIED} {event.deny_message}" if event.deny_message else DENIED
                    denials.append(
                        ev.AgentToolResult(id=new_id("sevt"), tool_use_id=call_id, content=text(why), is_error=True)
                    )
            case ev.UserCustomToolResult(custom_tool_use_id=call_id) if _in_state(head, call_id, "client"):
                answered = True
                add(event)
            case _:
                add(event)
    idle = head.primary.status == "idle"
    if answered and idle and not head.primary.interrupted:
        left = waits_for_client(head)
        if left:
            add(*denials, *_waits(head, config, left))
        else:
            add(*running(config), *denials)
    else:
        add(*denials)
    return out


def _waits(head: Head, config: ev.SessionConfig, left: list[str]) -> list[ev.Event]:
    stop = ev.StopReason("requires_action", left)
    return [
        ev.ThreadStatusIdle(
            id=new_id("sevt"),
            agent_name=str(config.agent["name"]),
            session_thread_id=config.primary_thread,
            stop_reason=stop,
        ),
        ev.SessionUsage(id=new_id("sevt"), usage=usage(head, head.at)),
        ev.SessionStatusIdle(id=new_id("sevt"), stop_reason=stop),
    ]


def _in_state(head: Head, call_id: str, state: str) -> bool:
    return any(c.id == call_id and c.state == state for c in head.calls)


def _result(head: Head, result: CallResult) -> list[ev.Event]:
    """Only the result of an open call counts, and only from its own generation (rules 5 and 12)."""
    call = next((c for c in head.calls if c.id == result.id), None)
    if call is None or call.state != "ready" or call.generation != result.generation:
        return []
    own = ev.AgentToolResult(
        id=new_id("sevt"),
        tool_use_id=call.id,
        content=result_blocks(result.content),
        is_error=result.is_error or None,
    )
    if not result.lost:
        return [own]
    others = [c for c in head.calls if c.generation == result.generation and c.id != call.id]
    return [own, *lost(result.generation, "the worker or the sandbox died", others)]


def lost(generation: str, reason: str, calls: Sequence[Call]) -> list[ev.Event]:
    """Rule 15: that generation is over; each of its open calls gets an error result."""
    results = [failed(call.id, LOST) for call in calls]
    return [*results, ev.SandboxLost(id=new_id("sevt"), generation=generation, reason=reason)]


def failed(call_id: str, message: str) -> ev.Event:
    """An error result made by the harness."""
    return ev.AgentToolResult(id=new_id("sevt"), tool_use_id=call_id, content=text(message), is_error=True)


def usage(head: Head, now: int) -> dict[str, object]:
    """The `usage` object of the wire from the head; `now` in microseconds."""
    running_for = now - head.running_since if head.running_since else 0
    return {
        "input_tokens": head.usage.input_tokens,
        "output_tokens": head.usage.output_tokens,
        "cache_read_input_tokens": head.usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": head.usage.cache_creation_input_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "active_seconds": round((head.active + max(running_for, 0)) / 1e6, 3),
    }
