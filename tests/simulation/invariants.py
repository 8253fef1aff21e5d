"""Checks at every append and every ack that what PROTOCOL.md forbids does not happen; numbered as there."""

from collections import deque

from msgspec.structs import replace

from holdfast.bus import codec, subjects
from holdfast.bus import events as ev
from holdfast.bus.api import Entry
from holdfast.bus.commands import Confirm
from holdfast.bus.commits import Commit
from holdfast.bus.head import Head, Status, advance
from holdfast.bus.ids import FIRST_CELL, Key
from holdfast.bus.inputs import ClientInput, HandGone, Source
from holdfast.bus.parked import PARKED
from holdfast.bus.records import decode_record
from holdfast.bus.streams import ERASED_BUCKETS
from holdfast.bus.times import CLAIM_STALE_US
from holdfast.harness.tools.tool_results import CALL_INTERRUPTED
from holdfast.harness.turn.claim import TAKEOVER_LIMIT
from holdfast.sandbox.placement import BUCKET, placement_of
from holdfast.testing.faults import Faults
from holdfast.testing.memory.consumer import DELIVERY, MemoryDelivery
from holdfast.testing.memory.records import CoreMessage
from holdfast.testing.memory.server import MemoryServer
from tests.simulation.actors import Observations
from tests.simulation.request_checks import RequestChecks

HOT_LOOP_DELIVERIES = 40
"""Deliveries of one message within HOT_LOOP_S seconds that are a hot loop: with ack_wait alone there are 7."""

HOT_LOOP_S = 10.0

SHOWN_STATUS: dict[type[ev.Event], Status] = {
    ev.SessionStatusRunning: "running",
    ev.SessionStatusRescheduled: "rescheduling",
    ev.SessionStatusIdle: "idle",
    ev.SessionStatusTerminated: "terminated",
    ev.SessionDeleted: "terminated",
}

EPOCH = 1_700_000_000_000_000
"""Microseconds since 1970 at which every schedule begins."""


class CheckedServer(MemoryServer):
    """A server that checks what it stores and what it removes."""

    def __init__(self, faults: Faults, observations: Observations) -> None:
        super().__init__(faults)
        self._observations = observations
        self.commits_of: dict[Key, list[Commit]] = {}
        self._owner: MemoryDelivery | None = None
        """The delivery whose handler made the open claim."""
        self.calm = False
        """Whether no process dies, freezes or hands over, so that no claim may be taken over."""
        observations.closed = self._closed
        observations.open_calls = lambda key: head_of(self.last(key)).calls
        self._requests: dict[Key, RequestChecks] = {}
        self._hand_of: dict[str, str] = {}
        """The hand that each generation was bound as."""
        self._deliveries: dict[int, deque[float]] = {}
        """The times of the last deliveries of each message."""
        self._given_up: set[str] = set()
        """Calls closed with a turn that was given up: rule 4 does not cancel them first, so one may be starting."""
        self.unread: set[str] = set()
        """Inputs that were taken unread when a turn was given up (rule 4)."""

    def delivered(self, seq: int) -> None:
        now = self.now()
        times = self._deliveries.setdefault(seq, deque(maxlen=HOT_LOOP_DELIVERIES))
        if len(times) == HOT_LOOP_DELIVERIES and now - times[0] < HOT_LOOP_S:
            self._observations.violation(f"4: input {seq} is delivered again and again, in a hot loop")
        times.append(now)

    def last(self, key: Key) -> Commit | None:
        commits = self.commits_of.get(key)
        return commits[-1] if commits else None

    def append(self, key: Key, data: bytes, commit_id: str, expect: int) -> int:
        count = len(self.log)
        seq = super().append(key, data, commit_id, expect)
        if len(self.log) > count:
            before = self.last(key)
            commit = codec.decode_commit(data)
            self.commits_of.setdefault(key, []).append(commit)
            self._requests_of(key).appended(commit)
            if before is not None and before.head.deleted:
                self._observations.violation(f"9: {commit.by} appends to a deleted session")
            elif before is not None:
                self._check(key, before, commit, DELIVERY.get(), EPOCH + int(self.now() * 1e6))
        return seq

    def ack(self, seq: int) -> None:
        record = self.inbox.get(seq)
        last = self.last(record.key) if record else None
        if record and last:
            head = last.head
            if head.deleted:
                pass  # it is deleted with its session
            elif record and seq > head.taken_in(self.stream_epoch).of(record.source):
                self._observations.violation(f"1: input {seq} was removed before it was taken (taken {head.taken})")
            elif head.claim and head.claim.trigger == seq:
                self._observations.violation(f"4: the trigger {seq} of the open claim was removed")
        super().ack(seq)

    def put(self, key: Key, source: Source, data: bytes, input_id: str) -> int:
        value = codec.decode_input(data)
        if isinstance(value, HandGone) and self._lives(value.generation):
            self._observations.violation(f"3: generation {value.generation} is reported gone and lives")
        return super().put(key, source, data, input_id)

    def publish(self, message: CoreMessage) -> None:
        if message.subject.startswith("cmd.hand.") and message.subject.endswith(".done"):
            done = decode_record(Confirm, message.data)
            if not self._has_result(Key(done.tenant, done.session), done.call):
                self._observations.violation(f"3: the result of {done.call} is dropped and not in the log")
        if message.subject.startswith("delta."):
            self._requests_of(subjects.key_of(message.subject)).published(message)
        super().publish(message)

    def _requests_of(self, key: Key) -> RequestChecks:
        if key not in self._requests:
            self._requests[key] = RequestChecks(self._observations.violation)
        return self._requests[key]

    def kv_write(
        self, bucket: str, key: str, value: bytes | None, *, ttl: float = 0.0, expect: int | None = None
    ) -> int:
        before = self.buckets[bucket].get(key)
        revision = super().kv_write(bucket, key, value, ttl=ttl, expect=expect)
        if bucket == BUCKET and key.startswith("s.") and before is not None:
            old, new = placement_of(before.value).generation, placement_of(value).generation
            if old not in ("", new) and self._lives(old):
                self._observations.violation(f"4: generation {old} lives and is not placed any more")
        if bucket in ERASED_BUCKETS and before is not None:
            self._observations.violation(f"9: a value in {bucket} is replaced, so that nobody can erase it any more")
        return revision

    def _lives(self, generation: str) -> bool:
        return any(s.generation == generation and s.alive for s in self._observations.sandboxes)

    def _expire(self, bucket: str, entry: Entry) -> None:
        if self.buckets[bucket].get(entry.key) is entry:
            for sandbox in self._observations.sandboxes:
                if sandbox.alive and entry.key == subjects.worker_key(FIRST_CELL, sandbox.worker):
                    self._observations.violation(
                        f"3: generation {sandbox.generation} outlives the registration of its worker"
                    )
        super()._expire(bucket, entry)

    def _closed(self, key: Key, call: str) -> bool:
        return call not in self._given_up and self._has_result(key, call)

    def _has_result(self, key: Key, call: str) -> bool:
        results = (e for c in self.commits_of[key] for e in c.events if isinstance(e, ev.AgentToolResult))
        return any(e.tool_use_id == call for e in results)

    # --- an append -------------------------------------------------------------------------------------------------

    def _check(self, key: Key, before: Commit, after: Commit, writer: MemoryDelivery | None, now: int) -> None:
        self._check_fold(before, after)
        closing = self._check_claim(before, after, writer, now)
        self._check_taken(key, before, after, closing=closing)
        self._check_calls(key, after)
        self._check_hands(before, after)
        self._check_threads(before, after, closing=closing)
        self._check_status(before, after)
        if closing:
            self._given_up |= {e.tool_use_id for e in after.events if isinstance(e, ev.AgentToolResult)}

    def _check_fold(self, before: Commit, after: Commit) -> None:
        head = before.head if before.head.config else replace(before.head, config=after.head.config)
        folded = advance(head, after.events, after.at)
        beside = {name: getattr(after.head, name) for name in ("claim", "taken", "inbox", "recent", "config")}
        if replace(folded, **beside) != after.head:
            self._observations.violation(f"2: the head of {after.id} by {after.by} is not the fold of the log")

    def _check_claim(self, before: Commit, after: Commit, writer: MemoryDelivery | None, now: int) -> bool:
        """Whether the append closes a turn that nobody could finish."""
        old, new = before.head.claim, after.head.claim
        if new and (old is None or new.id != old.id):  # a claim
            entitled = old is None or old.trigger == new.trigger or now - before.head.updated > CLAIM_STALE_US
            if not entitled:
                self._observations.violation(f"2: claim {new} was taken from {old}")
            if writer is None or writer.seq != new.trigger:
                self._observations.violation(f"2: claim {new} by a delivery of another input")
            if old is not None and self.calm:
                self._observations.violation(f"live: {new} was taken over from {old}, whose owner lives")
            self._owner = writer
            return False
        if writer is None:  # the session service
            if old != new and not (after.head.deleted and new is None):
                self._observations.violation(f"2: the session service changed the claim {old} to {new}")
            return False
        if writer is not self._owner or old is None:
            given_up = new is None and old and old.trigger == writer.seq and old.failures + 1 >= TAKEOVER_LIMIT
            if given_up:
                self._owner = None
                return True
            self._observations.violation(f"2: append {after.id} by a handler without the claim ({old})")
        if new is None:
            self._owner = None
        return False

    def _check_taken(self, key: Key, before: Commit, after: Commit, *, closing: bool) -> None:
        old, new = before.head.taken_in(self.stream_epoch), after.head.taken_in(self.stream_epoch)
        if new.inputs < old.inputs or new.results < old.results:
            self._observations.violation(f"1: taken went back from {old} to {new}")
        given = {e.id for e in after.events if isinstance(e, ev.ClientEvent)}
        earlier = {e.id for c in self.commits_of[key][:-1] for e in c.events if isinstance(e, ev.ClientEvent)}
        if given & earlier:
            self._observations.violation(f"1: {given & earlier} was taken twice")
        for seq in range(old.inputs + 1, new.inputs + 1):
            record = self.inbox.get(seq)
            ours = record is not None and record.key == key and record.source == "in"
            value = codec.decode_input(record.data) if record and ours else None
            if not isinstance(value, ClientInput):
                continue
            ids = {e.id for e in value.events}
            if ids <= given or ids <= earlier:
                continue
            if closing and subjects.parked_key(key, self.stream_epoch, seq) in self.buckets[PARKED]:
                self.unread |= ids
            elif closing:
                self._observations.violation(f"1: input {seq} was taken unread and is not parked")
            else:
                self._observations.violation(f"1: input {seq} was skipped by {after.id}")

    def _check_calls(self, key: Key, after: Commit) -> None:
        commits = self.commits_of[key]
        results = [e.tool_use_id for c in commits for e in c.events if isinstance(e, ev.AgentToolResult)]
        for event in after.events:
            if isinstance(event, ev.AgentToolResult) and results.count(event.tool_use_id) > 1:
                self._observations.violation(f"3: a second result of call {event.tool_use_id}")

    def _check_hands(self, before: Commit, after: Commit) -> None:
        """Calls belong to generations of their own hand, and a loss closes only the calls of what was lost."""
        self._hand_of |= {e.generation: e.hand for e in after.events if isinstance(e, ev.HandBound)}
        for call in after.head.calls:
            if call.generation and self._hand_of[call.generation] != call.hand:
                self._observations.violation(
                    f"3: call {call.id} of {call.hand} is bound to a generation of another hand"
                )
        texts = {e.tool_use_id: text_of(e.content) for e in after.events if isinstance(e, ev.AgentToolResult)}
        for call in before.head.calls:
            text = texts.get(call.id, "")
            if " was lost" in text and f"The {call.hand} was lost" not in text:
                self._observations.violation(f"3: call {call.id} of {call.hand} was closed by the loss of another hand")

    def _check_threads(self, before: Commit, after: Commit, *, closing: bool) -> None:
        """Each thread has its own calls, requests and interrupts, and the claim is kept while one of them has work."""
        calls = {c.id: c for c in before.head.calls}
        results = [e for e in after.events if isinstance(e, ev.AgentToolResult)]
        for event in results:
            call = calls.get(event.tool_use_id)
            if call is not None and call.thread != event.thread:
                self._observations.violation(f"3: the result of call {call.id} went to another thread")
            interrupted = call is not None and before.head.thread(call.thread).interrupted
            if text_of(event.content) == CALL_INTERRUPTED and not interrupted and not closing:
                self._observations.violation(f"3: call {event.tool_use_id} was closed, and its thread not interrupted")
        for event in after.events:
            abandoned = isinstance(event, ev.ModelRequestEnd) and event.stop == "abandoned"
            if abandoned and self.calm and not before.head.thread(event.thread).interrupted:
                self._observations.violation(f"live: a request of {event.thread!r} was abandoned, whose owner lives")
        if before.head.claim is None or after.head.claim is not None or after.head.archived:
            return
        for name, thread in after.head.threads.items():
            rests = any(c.thread == name for c in after.head.calls) or not thread.todo
            if thread.request or thread.interrupted or not rests:
                self._observations.violation(f"4: the claim was given up while thread {name!r} had work: {thread}")

    def _check_status(self, before: Commit, after: Commit) -> None:
        """What is shown of the session is what follows from its threads."""
        shown = before.head.status
        for event in after.events:
            shown = SHOWN_STATUS.get(type(event), shown)
        if shown != after.head.status:
            self._observations.violation(f"status: {shown} is shown of a session that is {after.head.status}")


def text_of(content: list[ev.Block] | None) -> str:
    """The text of a result."""
    return "".join(block.get("text", "") for block in content or ())


def head_of(commit: Commit | None) -> Head:
    return commit.head if commit else Head()
