"""The head of a session: the fold of its log, carried by each commit. Pure.

One read of the last commit answers `sessions.retrieve`, validates a confirmation and tells a woken harness what to do.
`advance` is the only way a head changes through events; `taken`, `claim` and `recent` are set by the writer of the
commit beside its events (PROTOCOL.md).
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from holdfast.bus import events as ev
from holdfast.bus.inputs import NOTHING_TAKEN, Source, Taken
from holdfast.bus.thread_state import Status, Thread, failed, idle, model_ended

PRIMARY_THREAD = ""
"""Id of the primary thread in `Head.threads`, `Call.thread` and `Event.thread`."""

RECENT_INPUT_IDS = 16
"""Input ids kept in the head. A publisher gives up within the dedupe window: a repeated input is a recent one."""


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The harness `by` runs the session. `id` is new with every claim.

    `by` is new with every start of a harness. `trigger` is the sequence of the inbox message that it was made for, and
    `source` the subject of that message. `delivery` is the number of the delivery that was claimed with (rule 21).
    """

    id: str
    by: str
    trigger: int
    failures: int = 0
    source: Source = "in"
    delivery: int = 0


class Call(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool call without a result yet.

    `ask` waits for a confirmation, `client` for the client's own result, `held` awaits siblings that wait for the
    client, `ready` may be run by its hand once it is due (rule 12). `generation` is that of the hand it is bound to,
    which never changes; empty: none yet. `hand` is empty for a call that the client answers.
    """

    id: str
    name: str
    state: Literal["ask", "client", "held", "ready"]
    generation: str = ""
    thread: str = ""
    hand: str = ""
    reads: bool = False
    """It changes nothing, so it may run beside others that only read."""


class Hand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hand of the session: its present generation and the worker that holds it."""

    generation: str
    worker: str
    kept: str = ""
    """A sentence of its driver for the model: what a loss of this hand leaves."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of all model requests of the session."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0

    def plus(self, other: ev.ModelUsage) -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
        )


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """State of a session after a commit. Times are microseconds since 1970, UTC."""

    count: int = 0
    """Events in the log, this commit included."""
    at: int = 0
    """`processed_at` of the last event; the next commit is later."""
    created: int = 0
    updated: int = 0
    config: int = 0
    """Stream sequence of the commit that holds the valid `holdfast.session`; 0: it is in this very commit."""
    environment: dict[str, Any] = {}
    """Config of the environment, as on the wire: what a worker must know to make a hand, read from here alone."""
    inbox: str = ""
    """Epoch of the inbox stream that `taken` counts in."""
    taken: Taken = NOTHING_TAKEN
    """Inbox messages up to this position are in the log."""
    recent: tuple[str, ...] = ()
    claim: Claim | None = None
    calls: tuple[Call, ...] = ()
    hands: dict[str, Hand] = {}
    """By name. A hand is made when a call needs it, and leaves when it is lost."""
    threads: dict[str, Thread] = {}
    """By thread id; the primary thread is PRIMARY_THREAD."""
    archived: int = 0
    deleted: int = 0
    erased: int = 0
    """When the last of what the deleted session had was erased (rule 29)."""
    usage: Usage = Usage()
    active: int = 0
    """Microseconds spent running, without the present run."""
    running_since: int = 0

    def thread(self, thread_id: str = PRIMARY_THREAD) -> Thread:
        """The state of a thread; that of a new thread if no event of it has been folded."""
        return self.threads.get(thread_id, Thread())

    @property
    def primary(self) -> Thread:
        return self.thread(PRIMARY_THREAD)

    @property
    def status(self) -> Status:
        """A fold over the threads: running while any is, else rescheduling while any is, else idle."""
        if self.archived or self.deleted:
            return "terminated"
        statuses = {t.status for t in self.threads.values()}
        return "running" if "running" in statuses else "rescheduling" if "rescheduling" in statuses else "idle"

    @property
    def is_at_rest(self) -> bool:
        """No harness drives the session, and none is to go on without another input."""
        return self.status == "terminated" or (self.status == "idle" and self.claim is None)

    @property
    def stop(self) -> ev.StopReason:
        """Why the session is idle: calls of any thread that wait for the client, else as the primary thread ended."""
        stops = [t.stop for t in self.threads.values() if t.stop and t.stop.type == "requires_action"]
        if stops:
            return ev.StopReason("requires_action", [call for stop in stops for call in stop.event_ids or []])
        return self.primary.stop or ev.StopReason("end_turn")

    def taken_in(self, stream_epoch: str) -> Taken:
        """How far the inbox of that epoch is taken; not at all if `taken` counts in another one."""
        return self.taken if self.inbox == stream_epoch else NOTHING_TAKEN


def waits_for_client(head: Head, thread: str = PRIMARY_THREAD) -> list[str]:
    """Ids of the calls of a thread that wait for a confirmation or a result of the client."""
    return [c.id for c in head.calls if c.thread == thread and c.state in ("ask", "client")]


def interrupted_threads(head: Head, event: ev.UserInterrupt) -> list[str]:
    """The threads that the interrupt stops: the one that it names, or every thread if it names none."""
    if event.thread or event.session_thread_id is not None:
        return [event.thread]
    return list(head.threads) or [PRIMARY_THREAD]


def is_unbound(call: Call) -> bool:
    """True if the call may run and belongs to no generation of its hand yet (rule 12)."""
    return call.state == "ready" and not call.generation


def advance(head: Head, events: Sequence[ev.Event], at: int) -> Head:
    """The head after `events`, committed at `at` (microseconds). Total: any event is legal at any time."""
    at = max(at, head.at + 1)
    for index, event in enumerate(events):
        head = _apply(head, event, at + index)
    last = at + max(len(events) - 1, 0)
    return replace(head, count=head.count + len(events), at=last, updated=last)


def _with(head: Head, thread: str, new: Thread) -> Head:
    return replace(head, threads={**head.threads, thread: new})


def _apply(head: Head, event: ev.Event, at: int) -> Head:
    for fold in (_fold_client, _fold_agent, _fold_span, _fold_thread_status, _fold_session, _fold_hand):
        after = fold(head, event, at)
        if after is not None:
            return after
    return head


def _fold_client(head: Head, event: ev.Event, _at: int) -> Head | None:
    key, thread = event.thread, head.thread(event.thread)
    match event:
        case ev.UserMessage():
            return _with(head, key, replace(thread, todo=True, retry_at=0))
        case ev.UserInterrupt():
            for name in interrupted_threads(head, event):
                head = _interrupted(head, name)
            return head
        case ev.UserToolConfirmation():
            return _confirmed(head, event.tool_use_id)
        case ev.UserCustomToolResult():
            return _closed(head, event.custom_tool_use_id)
        case _:
            return None


def _fold_agent(head: Head, event: ev.Event, _at: int) -> Head | None:
    key, thread = event.thread, head.thread(event.thread)
    match event:
        case ev.AgentToolUse():
            return replace(head, calls=(*head.calls, _new_call(head, event)))
        case ev.AgentCustomToolUse():
            return replace(head, calls=(*head.calls, Call(event.id, event.name, "client", "", key)))
        case ev.AgentToolResult():
            return _closed(head, event.tool_use_id)
        case ev.AgentContextCompacted():
            return _with(head, key, replace(thread, compactions=thread.compactions + 1, context_tokens=0, full=False))
        case _:
            return None


def _fold_span(head: Head, event: ev.Event, at: int) -> Head | None:
    thread = head.thread(event.thread)
    match event:
        case ev.ModelRequestStart():
            return _with(head, event.thread, replace(thread, request=event.id))
        case ev.ModelRequestEnd():
            return _model_ended(head, event, thread, at)
        case _:
            return None


def _fold_thread_status(head: Head, event: ev.Event, at: int) -> Head | None:
    """The statuses of one thread. The session's status follows from those of its threads."""
    key, thread = event.thread, head.thread(event.thread)
    match event:
        case ev.ThreadStatusRunning():
            fresh = thread.status == "idle" and (thread.stop is None or thread.stop.type != "requires_action")
            rounds = 0 if fresh else thread.rounds
            return _with(head, key, replace(thread, status="running", stop=None, rounds=rounds))
        case ev.ThreadStatusIdle(stop_reason=stop):
            return _with(head, key, idle(thread, stop))
        case ev.ThreadStatusRescheduled(retry_at=retry_at) if retry_at:  # release 0.1.0: see SessionStatusRescheduled
            return _rescheduled(head, key, retry_at, at)
        case _:
            return None


def _fold_session(head: Head, event: ev.Event, at: int) -> Head | None:
    match event:
        case ev.SessionConfig():
            return replace(head, created=head.created or at, config=0, environment=event.environment)
        case ev.SessionStatusRunning():
            return replace(head, running_since=head.running_since or at)
        case ev.SessionStatusIdle() | ev.SessionStatusRescheduled():
            if isinstance(event, ev.SessionStatusRescheduled) and event.retry_at:  # of release 0.1.0
                head = _rescheduled(head, event.thread, event.retry_at, at)
            return _stop_clock(head, at)
        case ev.SessionStatusTerminated():
            return replace(_stop_clock(head, at), archived=head.archived or at)
        case ev.SessionDeleted() | ev.SessionErased():
            head = _stop_clock(head, at)
            return replace(head, deleted=at) if isinstance(event, ev.SessionDeleted) else replace(head, erased=at)
        case _:
            return None


def _fold_hand(head: Head, event: ev.Event, _at: int) -> Head | None:
    match event:
        case ev.HandBound():
            calls = tuple(
                replace(c, generation=event.generation) if is_unbound(c) and c.hand == event.hand else c
                for c in head.calls
            )
            hand = Hand(event.generation, event.worker, event.kept)
            return replace(head, hands={**head.hands, event.hand: hand}, calls=calls)
        case ev.HandLost():
            hand = head.hands.get(event.hand)
            if hand is None or hand.generation != event.generation:
                return head
            return replace(head, hands={name: h for name, h in head.hands.items() if name != event.hand})
        case _:
            return None


def _interrupted(head: Head, key: str) -> Head:
    """Nothing of the thread goes on. A thread at rest is not touched by it."""
    thread = head.thread(key)
    busy = thread.status in ("running", "rescheduling") or any(c.thread == key for c in head.calls)
    return _with(head, key, replace(thread, todo=False, interrupted=busy))


def _stop_clock(head: Head, at: int) -> Head:
    if not head.running_since:
        return head
    return replace(head, active=head.active + at - head.running_since, running_since=0)


def _rescheduled(head: Head, key: str, retry_at: int, at: int) -> Head:
    """The thread waits until `retry_at`, and clients are told so."""
    thread = failed(head.thread(key), retry_at, at)
    return _with(head, key, replace(thread, status="rescheduling", told_at=at))


def _model_ended(head: Head, event: ev.ModelRequestEnd, thread: Thread, at: int) -> Head:
    head = replace(head, usage=head.usage.plus(event.model_usage))
    calls = [c for c in head.calls if c.thread == event.thread]
    runs = any(c.state != "held" for c in calls)  # one that cannot run has its error result in the same commit
    return _with(head, event.thread, model_ended(thread, event, at, called=bool(calls), runs=runs))


def _new_call(head: Head, event: ev.AgentToolUse) -> Call:
    """The call as it is after its event: bound to the generation of its hand if it may run."""
    hand = head.hands.get(event.hand)
    call = Call(event.id, event.name, "ready", hand.generation if hand else "", event.thread, event.hand, event.reads)
    if event.evaluated_permission == "deny" or (event.evaluated_permission != "ask" and _waits_behind(head, call)):
        return replace(call, state="held", generation="")
    return replace(call, state="ask", generation="") if event.evaluated_permission == "ask" else call


def _waits_behind(head: Head, call: Call) -> bool:
    """Whether a call before it must run first (rule 12) and waits for the client, or behind one that does."""
    before = [c for c in head.calls if c.thread == call.thread and c.hand == call.hand and not (c.reads and call.reads)]
    return bool(waits_for_client(head, call.thread)) and any(c.state in ("ask", "held") for c in before)


def _closed(head: Head, call_id: str) -> Head:
    call = next((c for c in head.calls if c.id == call_id), None)
    if call is None:
        return head
    thread = head.thread(call.thread)
    head = replace(head, calls=tuple(c for c in head.calls if c.id != call_id))
    if not thread.interrupted:
        head = _with(head, call.thread, replace(thread, todo=True))
    return _release_held(head, call.thread)


def _confirmed(head: Head, call_id: str) -> Head:
    call = next((c for c in head.calls if c.id == call_id and c.state == "ask"), None)
    if call is None:
        return head
    calls = tuple(replace(c, state="held") if c is call else c for c in head.calls)
    return _release_held(replace(head, calls=calls), call.thread)


def _release_held(head: Head, thread: str) -> Head:
    """Confirmed calls start when no sibling waits for the client any more: until then the session is at rest."""
    if waits_for_client(head, thread):
        return head
    calls = tuple(replace(c, state="ready") if c.thread == thread and c.state == "held" else c for c in head.calls)
    return replace(head, calls=calls)
