"""Inputs into events: the content of a commit that takes inputs from the inbox (rules 4 and 5). Pure."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.errors import Newer
from holdfast.bus.head import Call, Head, advance, interrupted_threads, waits_for_client
from holdfast.bus.ids import NewId
from holdfast.bus.inputs import CallResult, ClientInput, HandGone, PendingInput, Source, Taken, taken_after
from holdfast.bus.status import running
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
    Results of tools come first, so that a message sent while a tool ran follows the tool's result (unless more waits
    than one commit takes: then the conversation alone puts it behind); the rest keeps its order.
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


def busy_threads(head: Head, asking: Collection[str] = ()) -> frozenset[str]:
    """The threads with a call whose result is awaited from a hand, and those in `asking`.

    `asking` names the threads whose model request is in flight.
    """
    return frozenset(c.thread for c in head.calls if c.state == "ready").union(asking)


def before_newer(inputs: Sequence[PendingInput], *, upto: int = 0) -> list[PendingInput]:
    """The inputs of each source before its first that only a newer version can read.

    To take one behind it would lose it. Raises Newer if it is at or below inbox sequence `upto`, up to which the caller
    has to take.
    """
    gate = NewerGate(upto)
    return [pending for pending in inputs if gate.admits(pending)]


class NewerGate:
    """Admits the inputs of each source before its first that only a newer version can read; give it each in order."""

    def __init__(self, upto: int = 0) -> None:
        self._upto = upto
        self._closed: set[Source] = set()

    def admits(self, pending: PendingInput) -> bool:
        """True if it may be taken. Raises Newer if it is a newer one that is not above `upto`."""
        if pending.newer:
            self._closed.add(pending.source)
            if pending.seq <= self._upto:
                raise Newer("an input that waits")
        return pending.source not in self._closed


def waits_for(head: Head, inputs: Sequence[PendingInput], asking: Collection[str] = ()) -> frozenset[str]:
    """The busy threads for which the inputs are best left in the inbox; none if they are best taken now.

    They are left if they are only messages, each to a busy thread. They are taken once a thread is not busy any more,
    or with a further input that cannot wait.
    """
    busy, found = busy_threads(head, asking), set[str]()
    for pending in inputs if busy else ():
        if not isinstance(pending.input, ClientInput):
            return frozenset()
        for event in pending.input.events:
            if not isinstance(event, ev.UserMessage) or event.thread not in busy:
                return frozenset()
            found.add(event.thread)
    return frozenset(found)


def addressed(head: Head, inputs: Sequence[PendingInput]) -> set[str]:
    """The threads that the inputs are for: their messages, interrupts, and answers and results of their calls."""
    calls = {c.id: c.thread for c in head.calls}
    found = set[str]()
    for pending in inputs:
        match pending.input:
            case ClientInput(events=events):
                for event in events:
                    call = _answered_call(head, event)
                    named = interrupted_threads(head, event) if isinstance(event, ev.UserInterrupt) else [event.thread]
                    found.update([call.thread] if call else named)
            case CallResult(id=call_id) if call_id in calls:
                found.add(calls[call_id])
            case _:
                pass
    return found


def leaves_to_wait(head: Head, inputs: Sequence[PendingInput], asking: Collection[str]) -> bool:
    """True if inputs that were heard while model requests are in flight are left until one of them ends.

    These are messages to a thread in `asking`, interrupts of such threads, which end their requests, and nudges.
    """

    def waits(event: ev.ClientEvent) -> bool:
        match event:
            case ev.UserMessage():
                return event.thread in asking
            case ev.UserInterrupt():
                return all(name in asking or is_at_rest(head, name) for name in interrupted_threads(head, event))
            case _:
                return False

    for pending in inputs:
        match pending.input:
            case ClientInput() as given if not all(waits(e) for e in given.events):
                return False
            case CallResult():
                return False
            case _:
                pass
    return True


def client_events(head: Head, config: ev.SessionConfig, given: ClientInput, *, new_id: NewId) -> list[ev.Event]:
    """The events of one client request, and the status events and denials that follow from them."""
    if head.archived:
        return list(given.events)
    out: list[ev.Event] = []
    denials: dict[str, list[ev.Event]] = {}
    """Error results of rejected calls, by thread; a thread is in it if one of its calls was answered."""
    waiting: dict[str, None] = {}
    """Threads that got a message while they wait for the client."""

    def add(*events: ev.Event) -> None:
        nonlocal head
        head = advance(head, events, head.at + 1)
        out.extend(events)

    for event in given.events:
        call = _answered_call(head, event)
        thread = call.thread if call else event.thread  # a client need not know the call's thread
        if isinstance(event, ev.UserMessage):
            waiting[thread] = None
            if is_at_rest(head, thread):
                add(*running(head, config, thread=thread, new_id=new_id))
        add(event if event.thread == thread else replace(event, thread=thread))
        if call is not None:
            denials.setdefault(thread, []).extend(_denial(event, call, new_id))
    for thread, denied in denials.items():
        add(*_after_answers(head, config, thread, denied, new_id))
    for thread in waiting:
        if thread not in denials:
            add(*_told_again(head, config, thread, new_id))
    return out


def _denial(event: ev.ClientEvent, call: Call, new_id: NewId) -> list[ev.Event]:
    """The error result of the call if the event rejects it."""
    if not isinstance(event, ev.UserToolConfirmation) or event.result != "deny":
        return []
    text = f"{CALL_DENIED} {event.deny_message}" if event.deny_message else CALL_DENIED
    return [error_result(call.id, text, thread=call.thread, new_id=new_id)]


def _after_answers(
    head: Head, config: ev.SessionConfig, thread: str, denied: list[ev.Event], new_id: NewId
) -> list[ev.Event]:
    """The error results of rejected calls, and the thread's new status after a client has answered calls of it."""
    state = head.thread(thread)
    if state.status != "idle" or state.interrupted:
        return denied
    if open_calls := waits_for_client(head, thread):
        stop = ev.StopReason("requires_action", open_calls)
        return idle(head, config, stop, now=head.at, thread=thread, new_id=new_id, before=denied)
    return [*running(head, config, thread=thread, new_id=new_id), *denied]


def _told_again(head: Head, config: ev.SessionConfig, thread: str, new_id: NewId) -> list[ev.Event]:
    """The status of a thread that a message does not wake, because calls of it wait for the client.

    Without it a client that sends a message and reads the stream from there on would wait for ever.
    """
    state, open_calls = head.thread(thread), waits_for_client(head, thread)
    if state.status != "idle" or state.interrupted or not open_calls:
        return []
    return idle(head, config, ev.StopReason("requires_action", open_calls), now=head.at, thread=thread, new_id=new_id)


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


def is_at_rest(head: Head, thread: str) -> bool:
    """True if the thread is idle and owes nothing."""
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
