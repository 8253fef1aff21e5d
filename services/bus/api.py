"""The interface of the bus: `Bus` with its four parts `log`, `inbox`, `kv` and `core`. Pure.

`jetstream/` implements it over NATS JetStream, `holdfast.testing` in memory; both pass the same contract tests.
Every call has a deadline of its own and raises a `BusError` if it cannot answer.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from holdfast.bus.commits import Commit, Stored
from holdfast.bus.ids import Key
from holdfast.bus.inputs import NOTHING_TAKEN, AnyInput, PendingInput, Source, Taken
from holdfast.bus.public_events import PublicEnd, PublicEvent, PublicState, StoredPublicEvent

if TYPE_CHECKING:
    import asyncio

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers a request; it must not raise anything but BusError."""

Listener = Callable[["Message"], Awaitable[None]]


def ignore_newer(_key: Key, _seq: int) -> None:
    """The default of `Log.follow`: commits of a newer version are left out and nobody is told."""


class Message(msgspec.Struct, frozen=True):
    """A core message."""

    subject: str
    data: bytes


class Entry(msgspec.Struct, frozen=True):
    """A key of a bucket with its value and revision; `value` is None if the key was deleted or has expired."""

    key: str
    value: bytes | None
    revision: int


class Delivery(Protocol):
    """One delivery of one inbox message to one consumer. It has no body: that is read after the claim (rule 4)."""

    @property
    def key(self) -> Key: ...
    @property
    def source(self) -> Source:
        """The subject of the inbox that the message is on."""
        ...

    @property
    def seq(self) -> int:
        """Sequence of the message in the inbox stream."""
        ...

    @property
    def count(self) -> int:
        """1 for the first delivery."""
        ...

    @property
    def newer(self) -> bool:
        """True if only a newer version of Holdfast can decode the message. Its body is not read for this."""
        ...

    @property
    def number(self) -> int:
        """Names this delivery among all of its consumer; see `Inbox.redeliver`."""
        ...

    @property
    def passed_on(self) -> bool:
        """True if another replica has passed it on; see `Inbox.pass_on`."""
        ...

    async def ack(self, *, sure: bool = True) -> None:
        """Remove the message; wait for the server, raise Unavailable if it does not answer.

        Not `sure`: return at once. If the ack is lost, the message is delivered again.
        """
        ...

    async def nak(self, delay: float = 0.0) -> None:
        """Ask for another delivery after `delay` seconds; best effort."""
        ...

    async def in_progress(self) -> None:
        """Begin ack_wait anew; best effort."""
        ...


class Subscription(Protocol):
    async def close(self) -> None: ...


class Log(Protocol):
    async def append(self, key: Key, commit: Commit, expect: int) -> int:
        """Store the commit if the last one has sequence `expect` (0: none), and return its sequence.

        A lost answer is resolved by the commit's id: it is looked for at the leader, and sent again only unchanged.
        Raises Conflict when something else was appended (nothing was written, and this commit never will be),
        Unavailable when neither could be learned within the deadline, TooLarge.
        """
        ...

    async def head(self, key: Key, *, leader: bool = False) -> Stored | None:
        """The last commit, from any replica of the stream or from its leader. Blobs in it are not fetched."""
        ...

    async def read(self, key: Key, after: int = 0, *, leader: bool = False) -> list[Stored]:
        """All commits with a sequence above `after`, in order, blobs put back."""
        ...

    def pages(self, key: Key, after: int = 0, *, first: int = 500) -> AsyncGenerator[list[Stored]]:
        """As `read`, in batches of bounded bytes, so that a long log need not be in memory.

        The first one has at most `first` commits, the following ones more and more.
        """
        ...

    async def get(self, key: Key, seq: int) -> Stored | None:
        """The commit at that sequence if it is this session's, blobs put back."""
        ...

    def tail(self, key: Key, after: int | None = None) -> AsyncGenerator[Stored | None]:
        """Every commit above `after` (None: only those stored from now on), then live ones, without gap or repetition.

        Yields None when nothing came for some seconds, so that the reader can look at other things.
        The first value is always None: from then on nothing is missed.
        """
        ...

    def follow(
        self, cell: str, after: int = 0, *, on_newer: Callable[[Key, int], None] = ignore_newer
    ) -> AsyncGenerator[list[tuple[Key, Stored]]]:
        """Every commit of every session of the cell above stream sequence `after`, in stream order, in batches.

        Then live ones, without gap or repetition, and without end. Blobs are not fetched: large events stay
        `events.Blob`. A message that is no commit of ours is logged and left out. A commit of a newer version is left
        out too, and `on_newer` is called with its session and sequence. An empty batch says that everything
        stored so far has been yielded; it comes at least once, and again when nothing came for some seconds.
        """
        ...

    async def erase(self, key: Key, below: int) -> int:
        """Erase the commits of a deleted session below sequence `below`, and all its large bodies (rule 29).

        Their bytes on the disk are overwritten. Slow by intent: it leaves most of the time of the stream to others.
        Returns how many messages were erased. Safe to repeat. Raises Unavailable.
        """
        ...


class Inbox(Protocol):
    async def put(self, key: Key, value: AnyInput) -> int:
        """Store the input, have it delivered, and return its sequence.

        Safe to repeat with the same id within DEDUPLICATION_WINDOW_S seconds. Raises InboxFull if too many wait.
        """
        ...

    async def stream_epoch(self, cell: str) -> str:
        """The id of the present inbox stream of the cell. Sequences are comparable only within one epoch."""
        ...

    async def pending(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> list[PendingInput]:
        """The inputs that are not taken, of both sources, in order, at least up to sequence `upto` if that one exists.

        What is returned has no hole: everything stored up to its last sequence, and not removed, is in it.
        """
        ...

    def waiting(self, key: Key, above: Taken = NOTHING_TAKEN, *, upto: int = 0) -> AsyncGenerator[PendingInput]:
        """As `pending`, one at a time and each decoded when it is asked for, so that not all need be in memory."""
        ...

    def undecoded(self, key: Key, above: Taken, *, upto: int) -> AsyncGenerator[PendingInput]:
        """As `waiting`, without what it says: `input` is None, and a large body is not fetched. No content can fail."""
        ...

    async def put_again(self, key: Key, data: bytes, publish_id: str) -> int:
        """Store the bytes of an earlier client input once more, under another id of the publish. Raises InboxFull."""
        ...

    async def erase(self, key: Key) -> int:
        """Erase what waits in the inbox of a deleted session; as `Log.erase`."""
        ...

    async def consume(
        self,
        cell: str,
        handle: Callable[[Delivery], Awaitable[None]],
        stop: "asyncio.Event",
        *,
        limit: int,
        name: str = "",
    ) -> None:
        """Hand each delivery to `handle`, at most `limit` at once, until `stop`; then return when those are done.

        Under `name`, others may pass deliveries on to this consumer.

        While a handler runs, `in_progress` is sent for its delivery each IN_PROGRESS_INTERVAL_S seconds. An exception
        of a handler is logged, and the server delivers the input again.
        """
        ...

    async def redeliver(self, cell: str, seq: int, number: int) -> None:
        """Have the input `seq` delivered again at once, in place of the dead holder of that delivery; best effort.

        Does nothing if the input was acked.
        """
        ...

    async def pass_on(self, delivery: Delivery, to: str, *, load: int) -> bool:
        """Have the consumer `to` handle the delivery, unless it runs many more handlers than `load`.

        False: it does not, as it is gone or has enough to do. True: it does; or it is silent, and the delivery will be
        repeated as that of a consumer that has died. The caller must not handle it then.
        """
        ...

    async def on_arrival(
        self, key: Key, listener: Callable[[PendingInput], None], on_gap: Callable[[], None]
    ) -> Subscription:
        """Call `listener` for each input stored for that session from now on; best effort, for speed.

        Arrivals of one source come in order, but may overtake those of the other, and any may be missing. `on_gap` is
        called when the connection was lost meanwhile: then arrivals are missing, and the inbox has to be read.
        """
        ...


class KeyValue(Protocol):
    async def get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        """The key if it exists, as the leader of the bucket has it or as any replica does."""
        ...

    async def put(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """Store and return the revision; with `ttl` (whole seconds) the key expires by itself."""
        ...

    async def create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """As `put`, but raises Conflict if the key exists."""
        ...

    async def put_new(self, bucket: str, key: str, value: bytes) -> int:
        """As `create`, for a key that is only ever erased, never deleted. Reads nothing, also not after a Conflict."""
        ...

    async def update(self, bucket: str, key: str, value: bytes, revision: int, *, ttl: float = 0.0) -> int:
        """As `put`, but raises Conflict unless the key is at `revision`."""
        ...

    async def delete(self, bucket: str, key: str) -> None: ...

    async def erase(self, bucket: str, revision: int) -> None:
        """Erase the value of that revision, so that its bytes on the disk are overwritten; there need not be one.

        Only in one of `streams.ERASED_BUCKETS`. Watches are not told. A value that was replaced cannot be erased any
        more, as it is gone for readers while its bytes may stay on the disk: erase before you replace. Raises
        Unavailable.
        """
        ...

    async def erase_all(self, bucket: str, match: str) -> int:
        """Erase the values of all keys that match the subject pattern, as `erase` does; returns how many."""
        ...

    def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        """All keys that exist, then None, then every change; deletions and expiries have `value` None.

        None comes again whenever all changes up to now were compared with what the bucket holds.
        """
        ...

    async def list(self, bucket: str, match: str = ">") -> list[Entry]:
        """All keys that exist and match the subject pattern."""
        ...


class Core(Protocol):
    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109
        """Ask and wait for one answer, `timeout` seconds.

        Raises NoResponders at once when nobody listens, Unavailable when no answer came, and what the handler raised.
        Just after a lost connection is back it is Unavailable too that nobody listens: the listener may be on its way.
        """
        ...

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Answer requests, each in a task of its own."""
        ...

    async def publish(self, subject: str, data: bytes) -> None:
        """Send to the present subscribers; best effort."""
        ...

    async def subscribe(self, subject: str, listener: Listener) -> Subscription:
        """Hear every message, in order."""
        ...


class PublicEvents(Protocol):
    """The stream of public events of a cell, a copy of the log for other systems (rule 30)."""

    async def end(self, cell: str) -> PublicEnd | None:
        """How far the log of the cell is published; None if the cell has no such stream. Raises Unavailable."""
        ...

    async def append(self, end: PublicEnd, events: Sequence[PublicEvent], *, epoch: str, publisher: str) -> PublicEnd:
        """Store the events in order behind `end`, which nobody else may have passed. Returns the new end.

        Raises Conflict, Unavailable, StorageFull: then some of the first may be stored, and `end` tells which.
        """
        ...

    async def erase(self, key: Key, *, epoch: str, tombstone: int) -> bool:
        """Erase the public events of a deleted session but the last, which says that it is deleted (rule 29).

        Returns False, and erases nothing, before everything up to the commit `tombstone` of the log is published: then
        others may follow. Raises Unavailable.
        """
        ...


class PublicReads(Protocol):
    """Reads the stream of public events of a cell."""

    async def state(self, cell: str) -> PublicState | None:
        """The stream as its leader has it; None if the cell has none. Raises Unavailable."""
        ...

    async def after(self, cell: str, tenant: str, seq: int) -> tuple[list[StoredPublicEvent], int]:
        """The next events of the family `session.` of the tenant with a sequence above `seq`, in order.

        Also the sequence to go on behind, which is `seq` if there is nothing more yet. Any replica of the stream
        answers, so that what its leader has stored may come a moment later. Raises Unavailable.
        """
        ...


class FileChunks(Protocol):
    """The bytes of the files of clients, in chunks. `content` is an id that is new with each upload (rule 40)."""

    async def put(self, tenant: str, content: str, index: int, data: bytes) -> None:
        """Store a chunk. Safe to repeat with the same bytes. Raises Unavailable, StorageFull."""
        ...

    async def get(self, tenant: str, content: str, index: int) -> bytes:
        """The chunk. Raises LostBody if the leader does not have it either, Unavailable."""
        ...

    async def erase(self, tenant: str, content: str) -> int:
        """Erase all chunks, so that their bytes on the disk are overwritten; returns how many. As `Log.erase`."""
        ...


class Bus(Protocol):
    @property
    def log(self) -> Log: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def kv(self) -> KeyValue: ...
    @property
    def core(self) -> Core: ...
    @property
    def connected_since(self) -> float:
        """Loop time at which the present connection was made. After a loss others may not be back yet."""
        ...

    async def close(self) -> None: ...
