"""The bus as the services see it. `client.py` implements it over NATS JetStream; tests also have it in memory.

Both pass the same contract tests. Every call has a deadline of its own and raises a `BusError` when it cannot answer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec

from holdfast.bus.commits import Commit, Stored
from holdfast.bus.ids import Key
from holdfast.bus.inputs import AnyInput

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers a request; it must not raise anything but BusError."""

Listener = Callable[["Message"], Awaitable[None]]


class Message(msgspec.Struct, frozen=True):
    """A core message."""

    subject: str
    data: bytes


class Entry(msgspec.Struct, frozen=True):
    """A key of a bucket with its value and revision; `value` None says that the key was deleted or has expired."""

    key: str
    value: bytes | None
    revision: int


class PendingInput(msgspec.Struct, frozen=True):
    """An inbox message that has not been removed. `decode` raises Refused when its body is not an input of ours."""

    seq: int
    data: bytes
    input: AnyInput | None
    """None when the body could not be read."""
    previous: int = -1
    """Of one that was heard as it arrived: the sequence of what waited before it for the same session; -1: unknown."""


class Delivery(Protocol):
    """One delivery of one inbox message to one consumer."""

    @property
    def key(self) -> Key: ...
    @property
    def seq(self) -> int:
        """Sequence of the message in the inbox stream."""
        ...

    @property
    def count(self) -> int:
        """1 for the first delivery."""
        ...

    def waiting(self) -> PendingInput:
        """The message itself, decoded now."""
        ...

    async def ack(self, *, sure: bool = True) -> None:
        """Remove the message; waits for the server, raises Unavailable when it does not answer.

        Not `sure`: returns at once. Should it be lost, the message is delivered again.
        """
        ...

    async def nak(self, delay: float = 0.0) -> None:
        """Ask for another delivery after `delay` seconds; best effort."""
        ...

    async def beat(self) -> None:
        """Say that the message is still being worked on; best effort."""
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

    def pages(self, key: Key, after: int = 0) -> AsyncIterator[list[Stored]]:
        """As `read`, in batches, so that a long log need not be in memory."""
        ...

    async def get(self, key: Key, seq: int) -> Stored | None:
        """The commit at that sequence if it is this session's, blobs put back."""
        ...

    def tail(self, key: Key, after: int | None = None) -> AsyncIterator[Stored | None]:
        """Every commit above `after` (None: only those stored from now on), then live ones, without gap or repetition.

        Yields None when nothing came for some seconds, so that the reader can look at other things.
        The first value is always None: from then on nothing is missed.
        """
        ...

    def follow(self, cell: str, after: int = 0) -> AsyncIterator[list[tuple[Key, Stored]]]:
        """Every commit of every session of the cell above stream sequence `after`, in stream order, in batches.

        Then live ones, without gap or repetition, and without end. Blobs are not fetched: large events stay
        `events.Blob`. A message that is no commit of ours is logged and left out. An empty batch says that everything
        stored so far has been yielded; it comes at least once, and again when nothing came for some seconds.
        """
        ...


class Inbox(Protocol):
    async def put_input(self, key: Key, value: AnyInput) -> int:
        """Store the input, wake someone, and return its sequence. Safe to repeat with the same id within DEDUPE."""
        ...

    async def incarnation(self, cell: str) -> str:
        """Names the present inbox stream of the cell; another one counts its sequences anew."""
        ...

    async def waiting(self, key: Key, above: int, *, upto: int = 0) -> list[PendingInput]:
        """What waits above that sequence, in order, at least up to `upto` if that is still there."""
        ...

    async def consume(
        self, cell: str, handle: Callable[[Delivery], Awaitable[None]], stop: asyncio.Event, *, limit: int
    ) -> None:
        """Hand each delivery to `handle`, at most `limit` at once, until `stop`; then return when those are done.

        While a handler runs its delivery is kept alive by a beat each BEAT seconds. An exception of a handler is logged
        and its delivery left to be delivered again.
        """
        ...

    async def on_arrival(self, key: Key, listener: Callable[[PendingInput], None]) -> Subscription:
        """Call `listener` for each input stored for that session from now on; best effort, for speed."""
        ...


class Buckets(Protocol):
    async def kv_get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        """The living key, as the leader of the bucket has it or as any replica does."""
        ...

    async def kv_put(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """Store and return the revision; with `ttl` (whole seconds) the key expires by itself."""
        ...

    async def kv_create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """As kv_put, but raises Conflict when the key exists."""
        ...

    async def kv_update(self, bucket: str, key: str, value: bytes, revision: int) -> int:
        """As kv_put, but raises Conflict unless the key is at `revision`."""
        ...

    async def kv_delete(self, bucket: str, key: str) -> None: ...
    async def kv_list(self, bucket: str, match: str = ">") -> list[Entry]:
        """All living keys that match the subject pattern."""
        ...

    def kv_watch(self, bucket: str, match: str = ">") -> AsyncIterator[Entry | None]:
        """All living keys, then None once, then every change; deletions and expiries have `value` None."""
        ...


class Core(Protocol):
    async def request(self, subject: str, data: bytes, *, timeout: float) -> bytes:  # noqa: ASYNC109
        """Ask and wait for one answer, `timeout` seconds.

        Raises NoResponders at once when nobody listens, Unavailable when no answer came, and what the handler raised.
        """
        ...

    async def serve(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Answer requests, each in a task of its own."""
        ...

    async def publish(self, subject: str, data: bytes) -> None:
        """Send to whoever listens now; best effort."""
        ...

    async def subscribe(self, subject: str, listener: Listener) -> Subscription:
        """Hear every message, in order."""
        ...


class Bus(Log, Inbox, Buckets, Core, Protocol):
    async def close(self) -> None: ...
