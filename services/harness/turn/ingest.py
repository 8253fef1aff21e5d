"""Inputs into events: the content of a commit that takes inputs from the inbox (rules 4 and 5). Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from holdfast.bus import events as ev
from holdfast.bus.errors import Newer
from holdfast.bus.events.status import running
from holdfast.bus.head import Call, Head, advance, waits_for_client
from holdfast.bus.ids import NewId
from holdfast.bus.inputs import CallResult, ClientInput, HandGone, PendingInput, Source, Taken, taken_after
from holdfast.harness.models.sanitize import result_blocks
from holdfast.harness.tools.tool_results import error_result, hand_lost
from holdfast.harness.turn.idle import idle

CALL_DENIED: Final = "The user rejected the use of this tool."


class Ingested(msgspec.Struct, frozen=True):
    """Events to append, and the inbox position that they lead to."""

    events: list[ev.Event]
    taken: Taken
    """The position once the inputs are taken."""
    ids: tuple[str, ...]
    """Ids of the client inputs among them."""
    progress: bool
    """True if the result of a tool call is among the events."""


def ingest(
    head: Head, config: ev.SessionConfig, inputs: Sequence[PendingInput], taken: Taken, *, new_id: NewId
) -> Ingested:
    """The events of those inputs, which follow `taken`, with the ids that clients gave them. Never raises.

    An input that cannot be used (a nudge, a result of a call that is not open, a repeated id) only moves the position.
    Results of tools come first, so that a message sent while a tool ran follows the tool's result; the rest keeps its
    order.
    """
    events: list[ev.Event] = []
    ids: dict[str, None] = {}
    progress = False
    for pending in sorted(inputs, key=lambda p: not isinstance(p.input, CallResult | HandGone)):
        new: list[ev.Event] = []
        match pending.input:
            case ClientInput() as given if given.id not in head.recent and given.id not in ids and not head.deleted:
                ids[given.id] = None
                new = client_events(head, config, given, new_id=new_id)
            case CallResult() as result:
                new = result_events(head, result, new_id=new_id)
                progress = progress or bool(new)
            case HandGone() as gone:
                new = gone_events(head, gone, new_id=new_id)
                progress = progress or len(new) > 1
            case _:
                pass
        head = advance(head, new, head.at + 1)
        events += new
    return Ingested(events, taken_after(taken, inputs), tuple(ids), progress)


def answered_results(head: Head, results: Sequence[CallResult], *, new_id: NewId) -> list[ev.Event]:
    """The events of results that came in answers of workers, as if they had been in the inbox (rule 13)."""
    events: list[ev.Event] = []
    for result in results:
        new = result_events(head, result, new_id=new_id)
        head = advance(head, new, head.at + 1)
        events += new
    return events


def is_tool_running(head: Head) -> bool:
    """True if the result of a call is awaited from a hand."""
    return any(c.state == "ready" for c in head.calls)


def before_newer(inputs: Sequence[PendingInput], *, upto: int = 0) -> list[PendingInput]:
    """The inputs of each source before its first that only a newer version can read.

    To take one behind it would lose it. Raises Newer if it is at or below inbox sequence `upto`, up to which the caller
    has to take.
    """
    found: list[PendingInput] = []
    closed: set[Source] = set()
    for pending in inputs:
        if pending.newer:
            closed.add(pending.source)
            if pending.seq <= upto:
                raise Newer("an input that waits")
        elif pending.source not in closed:
            found.append(pending)
    return found


def may_wait(head: Head, inputs: Sequence[PendingInput]) -> bool:
    """True if the inputs are best left in the inbox: only messages, while a tool runs."""
    if not inputs or not is_tool_running(head):
        return False
    return all(
        isinstance(p.input, ClientInput) and all(isinstance(e, ev.UserMessage) for e in p.input.events) for p in inputs
    )


def client_events(head: Head, config: ev.SessionConfig, given: ClientInput, *, new_id: NewId) -> list[ev.Event]:
    """The events of one client request, and the status events and denials that follow from them."""
    if head.archived:
        return list(given.events)
    out: list[ev.Event] = []
    denials: dict[str, list[ev.Event]] = {}
    """Error results of rejected calls, by thread; a thread is in it if one of its calls was answered."""

    def add(*events: ev.Event) -> None:
        nonlocal head
        head = advance(head, events, head.at + 1)
        out.extend(events)

    for event in given.events:
        call = _answered_call(head, event)
        if isinstance(event, ev.UserMessage) and _is_at_rest(head, event.thread):
            add(*running(config, thread=event.thread, new_id=new_id))
        add(event)
        if call is not None:
            denied = denials.setdefault(call.thread, [])
            if isinstance(event, ev.UserToolConfirmation) and event.result == "deny":
                text = f"{CALL_DENIED} {event.deny_message}" if event.deny_message else CALL_DENIED
                denied.append(error_result(call.id, text, thread=call.thread, new_id=new_id))
    for thread, denied in denials.items():
        state = head.thread(thread)
        if state.status != "idle" or state.interrupted:
            add(*denied)
        elif open_calls := waits_for_client(head, thread):
            add(*denied)
            stop = ev.StopReason("requires_action", open_calls)
            add(*idle(head, config, stop, now=head.at, thread=thread, new_id=new_id))
        else:
            add(*running(config, thread=thread, new_id=new_id), *denied)
    return out


def result_events(head: Head, result: CallResult, *, new_id: NewId) -> list[ev.Event]:
    """The events of a result; none unless its call is open and of the result's generation (rules 5 and 12)."""
    call = next((c for c in head.calls if c.id == result.id), None)
    if call is None or call.state != "ready" or call.generation != result.generation:
        return []
    own = ev.AgentToolResult(
        id=new_id("sevt"),
        thread=call.thread,
        tool_use_id=call.id,
        content=result_blocks(result.content),
        is_error=result.is_error or None,
    )
    if not result.lost:
        return [own]
    siblings = [c for c in head.calls if c.generation == result.generation and c.id != call.id]
    reason = "its worker died, or it ended"
    return [own, *hand_lost(head, call.hand, result.generation, reason, siblings, new_id=new_id)]


def gone_events(head: Head, gone: HandGone, *, new_id: NewId) -> list[ev.Event]:
    """The loss of a generation whose worker is dead, with its open calls; nothing if the log has neither (rule 17)."""
    hand = head.hands.get(gone.hand)
    calls = [c for c in head.calls if c.generation == gone.generation]
    if head.archived or head.deleted or not (calls or (hand and hand.generation == gone.generation)):
        return []
    return hand_lost(head, gone.hand, gone.generation, "its worker died", calls, new_id=new_id)


def _is_at_rest(head: Head, thread: str) -> bool:
    return head.thread(thread).status == "idle" and not any(c.thread == thread for c in head.calls)


def _answered_call(head: Head, event: ev.ClientEvent) -> Call | None:
    """The open call that the event answers: by a confirmation, or with the result of a custom tool."""
    match event:
        case ev.UserToolConfirmation(tool_use_id=call_id):
            state = "ask"
        case ev.UserCustomToolResult(custom_tool_use_id=call_id):
            state = "client"
        case _:
            return None
    return next((c for c in head.calls if c.id == call_id and c.state == state), None)
