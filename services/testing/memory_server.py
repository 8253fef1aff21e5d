"""What a NATS server keeps, in memory: logs, inboxes with deliveries, buckets, blobs, subscriptions.

Nothing here waits or fails; each method is one atomic step of the server. What goes wrong on the way to it and back is
in `memory_bus` and `weather`. Time is that of the running loop, so it may be virtual.
"""

import asyncio
import fnmatch
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from typing import Any

import msgspec

from holdfast.bus import streams, subjects
from holdfast.bus.api import Entry
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import Key
from holdfast.testing.faults import Weather


class Record(msgspec.Struct):
    """A stored message."""

    seq: int
    key: Key
    data: bytes
    at: float
    id: str = ""
    removed: float = 0.0


class Held(msgspec.Struct):
    """A delivery that has not been acked."""

    count: int
    deadline: float


class Heard(msgspec.Struct, frozen=True):
    """A core message on its way to a listener."""

    subject: str
    data: bytes
    seq: int = 0
    previous: int = -1
    """Of an arrival: the sequence of what waits before it for the same session."""


class Ear(msgspec.Struct, eq=False):
    """One subscription: `hear` is called in the context of the process that listens."""

    pattern: str
    queue: str
    hear: Callable[[Heard], None]
    context: Context


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject matches a pattern with `*` and `>`."""
    if pattern.endswith(">"):
        return fnmatch.fnmatchcase(subject, pattern[:-1].replace("*", "[!.]*") + "*")
    return pattern == subject or (
        "*" in pattern
        and pattern.count(".") == subject.count(".")
        and fnmatch.fnmatchcase(subject, pattern.replace("*", "[!.]*"))
    )


class Puller(msgspec.Struct, eq=False):
    """A consumer that has room for `free` more deliveries."""

    free: int
    take: Callable[[Record, int], None]
    name: str


class MemoryServer:
    """The state of one cell's server."""

    def __init__(self, weather: Weather | None = None) -> None:
        self.weather = weather or Weather()
        self.incarnation = "m0"
        self.log: list[Record] = []
        self.inbox: dict[int, Record] = {}
        self.removed: list[Record] = []
        self.vanished: list[int] = []
        self.blobs: dict[str, bytes] = {}
        self.buckets: dict[str, dict[str, Entry]] = {bucket: {} for bucket in streams.BUCKETS}
        self._logs: dict[Key, list[Record]] = defaultdict(list)
        self._inbox_seq = 0
        self._dedupe: dict[str, tuple[float, int]] = {}
        self._revisions: dict[str, int] = defaultdict(int)
        self._expiry: dict[tuple[str, str], int] = {}
        self._ears: list[Ear] = []
        self._ready: dict[int, int] = {}
        """Inbox messages that may be delivered, with the number of deliveries so far."""
        self._held: dict[int, Held] = {}
        self._pullers: list[Puller] = []

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    # --- log -------------------------------------------------------------------------------------------------------

    def commits(self, key: Key) -> list[Record]:
        return self._logs[key]

    def append(self, key: Key, data: bytes, commit_id: str, expect: int) -> int:
        """Store if the last one is at `expect`; a repetition answers the sequence it has. Raises Conflict."""
        mine = self._logs[key]
        last = mine[-1].seq if mine else 0
        if last != expect:
            for record in reversed(mine):
                if record.seq <= expect:
                    break
                if record.id == commit_id:
                    return record.seq
            raise Conflict(expected=expect, actual=last)
        record = Record(len(self.log) + 1, key, data, self.now(), commit_id)
        self.log.append(record)
        mine.append(record)
        self.say(Heard(subjects.live(key), data, record.seq))
        return record.seq

    # --- inbox -----------------------------------------------------------------------------------------------------

    def put(self, key: Key, data: bytes, input_id: str) -> int:
        """Store unless the same id was stored within the dedupe window."""
        at, seq = self._dedupe.get(input_id, (-1e9, 0))
        if self.now() - at < streams.DEDUPE:
            return seq
        self._inbox_seq += 1
        record = Record(self._inbox_seq, key, data, self.now(), input_id)
        previous = max((r.seq for r in self.inbox.values() if r.key == key), default=0)
        self._dedupe[input_id] = (self.now(), record.seq)
        self.inbox[record.seq] = record
        self._ready[record.seq] = 0
        self.say(Heard(subjects.arrived(key), data, record.seq, previous))
        self.deliver()
        return record.seq

    def pull(self, puller: Puller) -> None:
        self._pullers.append(puller)
        self.deliver()

    def stop_pulling(self, puller: Puller) -> None:
        if puller in self._pullers:
            self._pullers.remove(puller)

    def deliver(self) -> None:
        """Hand what is ready to whoever has room."""
        while self._ready:
            open_ = [p for p in self._pullers if p.free > 0]
            if not open_:
                return
            puller = open_[self.weather.pick(len(open_))]
            seqs = sorted(self._ready, key=lambda s: (self._ready[s] == 0, s))  # redeliveries first
            seq = seqs[self.weather.pick(len(seqs))]
            count = self._ready.pop(seq) + 1
            held = Held(count, self.now() + streams.ACK_WAIT)
            self._held[seq] = held
            self._watch(seq, held)
            puller.free -= 1
            puller.take(self.inbox[seq], count)

    def _watch(self, seq: int, held: Held) -> None:
        asyncio.get_running_loop().call_at(held.deadline, self._overdue, seq, held)

    def _overdue(self, seq: int, held: Held) -> None:
        if self._held.get(seq) is not held:
            return
        if self.now() + 1e-9 < held.deadline:
            self._watch(seq, held)
        else:
            self.redeliver(seq)

    def redeliver(self, seq: int) -> None:
        """Give the message to someone again, as when ack_wait has passed."""
        held = self._held.pop(seq, None)
        if held is not None:
            self._ready[seq] = held.count
            self.deliver()

    def held(self) -> list[int]:
        return sorted(self._held)

    def ack(self, seq: int) -> None:
        """Remove the message; the ack of any delivery of it counts."""
        self._held.pop(seq, None)
        self._ready.pop(seq, None)
        record = self.inbox.pop(seq, None)
        if record is not None:
            record.removed = self.now()
            self.removed.append(record)

    def vanish(self, seq: int) -> None:
        """The message is lost for good, as when an operator purges it."""
        self._held.pop(seq, None)
        self._ready.pop(seq, None)
        self.inbox.pop(seq, None)
        self.vanished.append(seq)

    def nak(self, seq: int, delay: float) -> None:
        held = self._held.get(seq)
        if held is None:
            return
        if delay:
            held.deadline = self.now() + delay
            self._held[seq] = again = Held(held.count, held.deadline)
            self._watch(seq, again)
        else:
            self.redeliver(seq)

    def beat(self, seq: int) -> None:
        held = self._held.get(seq)
        if held is not None:
            held.deadline = max(held.deadline, self.now() + streams.ACK_WAIT)

    # --- buckets ---------------------------------------------------------------------------------------------------

    def kv_write(
        self, bucket: str, key: str, value: bytes | None, *, ttl: float = 0.0, expect: int | None = None
    ) -> int:
        """Write, or delete with None. With `expect` 0 the key must not live. Raises Conflict."""
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
        self.say(Heard(subjects.bucket_changes(bucket, key), msgspec.msgpack.encode(entry), entry.revision))
        return entry.revision

    def _expire(self, bucket: str, entry: Entry) -> None:
        if self.buckets[bucket].get(entry.key) is entry:
            self.kv_write(bucket, entry.key, None)

    # --- core ------------------------------------------------------------------------------------------------------

    def listen(self, ear: Ear) -> None:
        self._ears.append(ear)

    def deaf(self, ear: Ear) -> None:
        if ear in self._ears:
            self._ears.remove(ear)

    def hearers(self, subject: str) -> list[Ear]:
        """Who would hear a message: every plain subscription, and one of each queue group."""
        found: list[Ear] = []
        groups: dict[str, list[Ear]] = defaultdict(list)
        for ear in self._ears:
            if matches(ear.pattern, subject):
                if ear.queue:
                    groups[ear.queue].append(ear)
                else:
                    found.append(ear)
        return found + [group[self.weather.pick(len(group))] for group in groups.values()]

    def say(self, heard: Heard) -> None:
        for ear in self.hearers(heard.subject):
            ear.context.run(ear.hear, heard)

    def info(self) -> dict[str, Any]:
        """For the text of a failed test."""
        return {"inbox": list(self.inbox), "ready": dict(self._ready), "held": self._held, "commits": len(self.log)}
