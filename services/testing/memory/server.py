"""The state of a NATS server, in memory: logs, inboxes with deliveries, buckets, blobs, subscriptions.

Nothing here waits or fails; each method is one atomic step of the server. Faults on the way to the server and back are
injected by `link` and `faults`. Time is that of the running loop, so it may be virtual.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.bus import streams, subjects
from holdfast.bus.api import Entry
from holdfast.bus.errors import Conflict, InboxFull, LostBody
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.testing.faults import Faults
from holdfast.testing.memory.records import CoreMessage, InFlight, Puller, Record, Subscriber, matches


class MemoryServer:
    """The state of one cell's server."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.stream_epoch = "m0"
        self.log: list[Record] = []
        self.inbox: dict[int, Record] = {}
        self.inbox_limit = streams.INBOX_LIMIT_MESSAGES
        self.removed: list[Record] = []
        self.vanished: list[int] = []
        self.blobs: dict[tuple[Key, str], bytes] = {}
        """Large bodies by their session and hash."""
        self.buckets: dict[str, dict[str, Entry]] = {bucket: {} for bucket in streams.BUCKETS}
        self._logs: dict[Key, list[Record]] = defaultdict(list)
        self._log_seq = 0
        self._inbox_seq = 0
        self._dedupe: dict[str, tuple[float, int]] = {}
        self._revisions: dict[str, int] = defaultdict(int)
        self._subscribers: list[Subscriber] = []
        self._ready: dict[int, int] = {}
        """Inbox messages that may be delivered, with the number of deliveries so far."""
        self._in_flight: dict[int, InFlight] = {}
        self._pullers: list[Puller] = []
        self.takers: dict[str, Callable[[Record, int], bool]] = {}
        """By name: a consumer to which others pass deliveries on; False if it has no room."""

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    # --- log and blobs ---------------------------------------------------------------------------------------------

    def commits(self, key: Key) -> list[Record]:
        return self._logs[key]

    def append(self, key: Key, data: bytes, commit_id: str, expect: int) -> int:
        """Store if the last commit is at `expect`; return the sequence of an earlier copy if there is one.

        Raises Conflict.
        """
        commits = self._logs[key]
        last = commits[-1].seq if commits else 0
        if last != expect:
            for record in reversed(commits):
                if record.seq <= expect:
                    break
                if record.id == commit_id:
                    return record.seq
            raise Conflict(expected=expect, actual=last)
        self._log_seq += 1
        record = Record(self._log_seq, key, data, self.now(), commit_id)
        self.log.append(record)
        commits.append(record)
        self.publish(CoreMessage(subjects.live(key), data, record.seq))
        return record.seq

    def erase_log(self, key: Key, below: int) -> int:
        """Remove the commits of the session below that sequence, and its bodies; how many these were."""
        bodies = [self.blobs.pop(name) for name in list(self.blobs) if name[0] == key]
        erased = [record for record in self._logs[key] if record.seq < below]
        self._logs[key] = self._logs[key][len(erased) :]
        self.log = [record for record in self.log if record.key != key or record.seq >= below]
        return len(erased) + len(bodies)

    def blob(self, key: Key, ref: str) -> bytes:
        """The body of the session with that hash. Raises LostBody."""
        if (key, ref) not in self.blobs:
            raise LostBody(f"the body {ref} is not in the object store")
        return self.blobs[key, ref]

    # --- inbox -----------------------------------------------------------------------------------------------------

    def put(self, key: Key, source: Source, data: bytes, input_id: str) -> int:
        """Store unless the same id was stored within the dedupe window. Raises InboxFull."""
        stored_at, seq = self._dedupe.get(input_id, (-1e9, 0))
        if self.now() - stored_at < streams.DEDUPLICATION_WINDOW_S:
            return seq
        earlier = [r.seq for r in self.inbox.values() if r.key == key and r.source == source]
        if len(earlier) >= self.inbox_limit:
            raise InboxFull("too many inputs of the session wait to be taken")
        self._inbox_seq += 1
        record = Record(self._inbox_seq, key, data, self.now(), input_id, source=source)
        previous = max(earlier, default=0)
        self._dedupe[input_id] = (self.now(), record.seq)
        self.inbox[record.seq] = record
        self._ready[record.seq] = 0
        self.publish(CoreMessage(subjects.arrived(key, source), data, record.seq, previous))
        self.deliver()
        return record.seq

    def pull(self, puller: Puller) -> None:
        self._pullers.append(puller)
        self.deliver()

    def stop_pulling(self, puller: Puller) -> None:
        if puller in self._pullers:
            self._pullers.remove(puller)

    def deliver(self) -> None:
        """Hand ready messages to pullers with room."""
        while self._ready:
            with_room = [p for p in self._pullers if p.free > 0]
            if not with_room:
                return
            puller = with_room[self.faults.pick(len(with_room))]
            seqs = sorted(self._ready, key=lambda s: (self._ready[s] == 0, s))  # redeliveries first
            seq = seqs[self.faults.pick(len(seqs))]
            count = self._ready.pop(seq) + 1
            delivery = InFlight(count, self.now() + streams.ACK_WAIT_S)
            self._in_flight[seq] = delivery
            self._schedule_timeout(seq, delivery)
            puller.free -= 1
            self.delivered(seq)
            puller.take(self.inbox[seq], count)

    def delivered(self, seq: int) -> None:
        """Called with each delivery, for a checker."""

    def _schedule_timeout(self, seq: int, delivery: InFlight) -> None:
        asyncio.get_running_loop().call_at(delivery.deadline, self._timed_out, seq, delivery)

    def _timed_out(self, seq: int, delivery: InFlight) -> None:
        if self._in_flight.get(seq) is not delivery:
            return
        if self.now() + 1e-9 < delivery.deadline:
            self._schedule_timeout(seq, delivery)
        else:
            self.redeliver(seq)

    def redeliver(self, seq: int) -> None:
        """Deliver the message again, as when ack_wait has passed."""
        delivery = self._in_flight.pop(seq, None)
        if delivery is not None:
            self._ready[seq] = delivery.count
            self.deliver()

    def in_flight(self) -> list[int]:
        """Sequences of the messages that are delivered and not acked."""
        return sorted(self._in_flight)

    def ack(self, seq: int) -> None:
        """Remove the message; the ack of any delivery of it counts."""
        self._in_flight.pop(seq, None)
        self._ready.pop(seq, None)
        record = self.inbox.pop(seq, None)
        if record is not None:
            record.removed_at = self.now()
            self.removed.append(record)

    def vanish(self, seq: int) -> None:
        """The message is lost for good, as when an operator purges it."""
        self._in_flight.pop(seq, None)
        self._ready.pop(seq, None)
        self.inbox.pop(seq, None)
        self.vanished.append(seq)

    def erase_inbox(self, key: Key) -> int:
        """Remove what waits for the session; how much that was."""
        found = [record for record in self.inbox.values() if record.key == key]
        for record in found:
            self.ack(record.seq)
        self.removed = [record for record in self.removed if record.key != key]
        return len(found)

    def nak(self, seq: int, delay: float) -> None:
        """Deliver again after `delay` seconds."""
        delivery = self._in_flight.get(seq)
        if delivery is None:
            return
        if delay:
            delivery.deadline = self.now() + delay
            self._in_flight[seq] = delayed = InFlight(delivery.count, delivery.deadline)
            self._schedule_timeout(seq, delayed)
        else:
            self.redeliver(seq)

    def in_progress(self, seq: int) -> None:
        """Begin ack_wait anew."""
        delivery = self._in_flight.get(seq)
        if delivery is not None:
            delivery.deadline = max(delivery.deadline, self.now() + streams.ACK_WAIT_S)

    # --- buckets ---------------------------------------------------------------------------------------------------

    def kv_write(
        self, bucket: str, key: str, value: bytes | None, *, ttl: float = 0.0, expect: int | None = None
    ) -> int:
        """Write, or delete with None. With `expect` 0 the key must not exist. Raises Conflict."""
        entries = self.buckets[bucket]
        before = entries.get(key)
        if expect is not None:
            at = before.revision if before else 0
            free = before is None or before.value is None
            if (expect == 0 and not free) or (expect and expect != at):
                raise Conflict(expected=expect, actual=at)
        self._revisions[bucket] += 1
        entry = Entry(key, value, self._revisions[bucket])
        entries[key] = entry
        if ttl:
            asyncio.get_running_loop().call_later(max(1, round(ttl)), self._expire, bucket, entry)
        self.publish(CoreMessage(subjects.bucket_changes(bucket, key), msgspec.msgpack.encode(entry), entry.revision))
        return entry.revision

    def kv_erase(self, bucket: str, revision: int) -> None:
        """Remove the key that has that revision, if there is one; nobody is told."""
        entries = self.buckets[bucket]
        for key in [key for key, entry in entries.items() if entry.revision == revision]:
            del entries[key]

    def kv_erase_all(self, bucket: str, match: str) -> int:
        """Remove the keys that match the pattern; how many these were. Nobody is told."""
        entries, pattern = self.buckets[bucket], subjects.bucket_changes(bucket, match)
        found = [key for key in entries if matches(pattern, subjects.bucket_changes(bucket, key))]
        return len([entries.pop(key) for key in found])

    def _expire(self, bucket: str, entry: Entry) -> None:
        if self.buckets[bucket].get(entry.key) is entry:
            self.kv_write(bucket, entry.key, None)

    # --- core ------------------------------------------------------------------------------------------------------

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def receivers(self, subject: str) -> list[Subscriber]:
        """The subscribers that get a message: every plain subscription, and one of each queue group."""
        found: list[Subscriber] = []
        groups: dict[str, list[Subscriber]] = defaultdict(list)
        for subscriber in self._subscribers:
            if matches(subscriber.pattern, subject):
                if subscriber.queue:
                    groups[subscriber.queue].append(subscriber)
                else:
                    found.append(subscriber)
        return found + [group[self.faults.pick(len(group))] for group in groups.values()]

    def publish(self, message: CoreMessage) -> None:
        for subscriber in self.receivers(message.subject):
            subscriber.context.run(subscriber.receive, message)

    def info(self) -> dict[str, Any]:
        """For the text of a failed test."""
        ready, commits = dict(self._ready), len(self.log)
        return {"inbox": list(self.inbox), "ready": ready, "in_flight": self._in_flight, "commits": commits}
