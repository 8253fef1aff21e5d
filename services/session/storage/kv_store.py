"""The objects of one kind in a bucket, by tenant and id, with lists in order of creation.

Objects are read from the bucket itself, so whoever has an answer reads what it says from any replica. Only the order of
a list is kept in memory, current by a watch: a list may lag some milliseconds behind another replica's writes, never
behind this one's.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec
import structlog

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import BusError
from holdfast.bus.ids import is_token

KEPT = 1_000
"""Objects kept in memory for `known`."""

_RETRY = 0.5
"""Seconds between two attempts to watch."""

_log = structlog.get_logger()


class ListEntry(msgspec.Struct, frozen=True):
    """What a list filters by. Times in microseconds; a `created_at` of 0 marks what is no object of this kind."""

    created_at: int = 0
    archived_at: int | None = None


T = TypeVar("T", bound=msgspec.Struct)


class KvStore(Generic[T]):
    """`kind` must have the fields of `Card`. The key of an object is `<tenant>.<id>`."""

    def __init__(self, kv: KeyValue, bucket: str, kind: type[T]) -> None:
        self._kv = kv
        self._bucket = bucket
        self._decoder = msgspec.json.Decoder(kind)
        self._card = msgspec.json.Decoder(ListEntry)
        self._ids: dict[str, list[str]] = {}
        self._cards: dict[str, tuple[int, ListEntry | None]] = {}
        self._kept: dict[str, tuple[T, int]] = {}
        self._current = asyncio.Event()

    async def ready(self) -> None:
        """Wait until the bucket has been read once."""
        await self._current.wait()

    # --- one object ------------------------------------------------------------------------------------------------

    async def get(self, tenant: str, name: str) -> tuple[T, int] | None:
        """The object and its revision; None also for what cannot be a name of ours."""
        if not is_token(name):
            return None
        entry = await self._kv.get(self._bucket, f"{tenant}.{name}")
        if entry is None or entry.value is None:
            return None
        return self._decoder.decode(entry.value), entry.revision

    async def known(self, tenant: str, name: str) -> tuple[T, int] | None:
        """As `get`, but from memory while the watch has told of no newer revision.

        What this process wrote is seen at once, what another replica wrote a moment later.
        """
        key = f"{tenant}.{name}"
        kept = self._kept.get(key)
        if kept and kept[1] == self._cards.get(key, (0, None))[0]:
            return kept
        found = await self.get(tenant, name)
        if found:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = found
        return found

    async def put(self, tenant: str, name: str, value: T, revision: int) -> int:
        """Store over `revision`, or as new with 0. Raises Conflict when someone else did first."""
        key, raw = f"{tenant}.{name}", msgspec.json.encode(value)
        if revision:
            revision = await self._kv.update(self._bucket, key, raw, revision)
        else:
            revision = await self._kv.create(self._bucket, key, raw)
        self._note(Entry(key, raw, revision))
        return revision

    async def remove(self, tenant: str, name: str) -> None:
        await self._kv.delete(self._bucket, f"{tenant}.{name}")
        self._forget(f"{tenant}.{name}")

    # --- lists -----------------------------------------------------------------------------------------------------

    async def newest(
        self, tenant: str, *, below: str | None, limit: int, keep: Callable[[ListEntry], bool]
    ) -> tuple[list[T], str | None]:
        """Up to `limit` objects, newest first, older than the id `below`; and the id to go on below, if any."""
        names: list[str] = []
        for name in self._below(tenant, below):
            card = self._cards[f"{tenant}.{name}"][1]
            if card and keep(card):
                names.append(name)
            if len(names) > limit:
                break
        page = names[:limit]
        found = await asyncio.gather(*(self.get(tenant, name) for name in page))
        return [one[0] for one in found if one], page[-1] if len(names) > limit else None

    def _below(self, tenant: str, below: str | None) -> Iterator[str]:
        ids = self._ids.get(tenant, [])
        at = len(ids) if below is None else bisect_left(ids, below)
        return (ids[i] for i in range(at - 1, -1, -1))

    # --- the order in memory ---------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Keep the order current until cancelled."""
        while True:
            try:
                async for entry in self._kv.watch(self._bucket, "*.*"):
                    if entry is None:
                        self._current.set()
                    else:
                        self._note(entry)
            except BusError as exc:
                _log.warning("lost sight of a bucket", bucket=self._bucket, cause=str(exc))
            await asyncio.sleep(_RETRY)

    def _note(self, entry: Entry) -> None:
        known, _ = self._cards.get(entry.key, (0, None))
        if entry.revision <= known:
            return
        if entry.value is None:
            self._forget(entry.key)
            return
        try:
            card = self._card.decode(entry.value)
        except msgspec.MsgspecError:  # it is not listed; the others go on
            _log.error("an entry cannot be read", bucket=self._bucket, key=entry.key)
            return
        if not known:
            tenant, name = entry.key.split(".")
            insort(self._ids.setdefault(tenant, []), name)
        self._cards[entry.key] = (entry.revision, card)

    def _forget(self, key: str) -> None:
        if self._cards.pop(key, None):
            tenant, name = key.split(".")
            self._ids[tenant].remove(name)
