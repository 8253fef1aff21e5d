"""Objects of one kind in a bucket, by tenant and id, with lists in order of creation.

Objects are read from the leader of the bucket, so a client that has an answer reads the same object from any replica.
Only the order of a list is kept in memory, current by a watch: a list may lag some milliseconds behind another
replica's writes, never behind this one's.
"""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.ids import is_token
from holdfast.bus.records import decode_record
from holdfast.process.retry import keep_watching
from holdfast.session.http.errors import ApiError, conflict, not_found

UPDATE_ATTEMPTS: Final = 25
"""Writes tried in one update while other writers come first, before the caller is told to try again."""

CACHED_OBJECTS: Final = 1_000
"""Objects kept in memory for `cached`."""

_log = structlog.get_logger()


class ListEntry(msgspec.Struct, frozen=True):
    """The fields of an object that lists filter by. Times in microseconds; `created_at` 0: no object of this kind."""

    created_at: int = 0
    archived_at: int | None = None


def ignore_change(_tenant: str, _before: ListEntry | None, _after: ListEntry | None) -> None:
    """The default of `changed` of a KvStore."""


T = TypeVar("T", bound=msgspec.Struct)


class KvStore(Generic[T]):
    """`kind` must have the fields of `ListEntry`, and `v`. The key of an object is `<tenant>.<id>`.

    `label` names an object in error texts, such as `agent`; `missing_code` is the `error_code` of a 404, if any.
    `entry` has the fields that are kept in memory of each object. `changed(tenant, before, after)` is called for each
    change of these; None: the object is not there.
    """

    def __init__(
        self,
        kv: KeyValue,
        bucket: str,
        kind: type[T],
        *,
        label: str,
        missing_code: str = "",
        entry: type[ListEntry] = ListEntry,
        changed: Callable[[str, ListEntry | None, ListEntry | None], None] = ignore_change,
    ) -> None:
        self._kv = kv
        self._bucket = bucket
        self._label = label
        self._missing_code = missing_code
        self._kind = kind
        self._entry_decoder = msgspec.json.Decoder(entry)
        self._ids: dict[str, list[str]] = {}
        """By tenant, the ids of its objects in order of creation."""
        self._entries: dict[str, tuple[int, ListEntry]] = {}
        """By key, the newest revision that is known and its entry."""
        self._cache: dict[str, tuple[T, int]] = {}
        self._listed = asyncio.Event()
        self._changed = changed

    async def ready(self) -> None:
        """Wait until the bucket has been read once."""
        await self._listed.wait()

    # --- one object ------------------------------------------------------------------------------------------------

    async def find(self, tenant: str, object_id: str) -> tuple[T, int] | None:
        """The object and its revision; None also for a text that is no id. Raises BusError, among them Newer."""
        if not is_token(object_id):
            return None
        entry = await self._kv.get(self._bucket, f"{tenant}.{object_id}")
        if entry is None or entry.value is None:
            return None
        return decode_record(self._kind, entry.value), entry.revision

    async def get(self, tenant: str, object_id: str) -> tuple[T, int]:
        """As `find`, but raises ApiError 404 when there is no such object."""
        found = await self.find(tenant, object_id)
        if found is None:
            raise self._missing()
        return found

    async def cached(self, tenant: str, object_id: str) -> T:
        """The object, from memory while the watch has told of no newer revision. Raises ApiError 404, BusError.

        A write of this process is seen at once, one of another replica some milliseconds later.
        """
        key = f"{tenant}.{object_id}"
        hit = self._cache.get(key)
        if hit and key in self._entries and hit[1] == self._entries[key][0]:
            return hit[0]
        found = await self.get(tenant, object_id)
        if len(self._cache) >= CACHED_OBJECTS:
            self._cache.clear()
        self._cache[key] = found
        return found[0]

    async def put(self, tenant: str, object_id: str, value: T, revision: int) -> int:
        """Store over `revision`, or as new with 0, and return the new revision. Raises Conflict, BusError."""
        key, raw = f"{tenant}.{object_id}", msgspec.json.encode(value)
        if revision:
            revision = await self._kv.update(self._bucket, key, raw, revision)
        else:
            revision = await self._kv.create(self._bucket, key, raw)
        self._observe(Entry(key, raw, revision))
        return revision

    async def update(self, tenant: str, object_id: str, decide: Callable[[T], Awaitable[T]]) -> T:
        """Store and return the value that `decide` returns for the present one; if they are equal, store nothing.

        When another writer comes first, `decide` is called again with what it wrote. Raises ApiError 404, ApiError 409
        after UPDATE_ATTEMPTS lost races, BusError, and the errors of `decide`.
        """
        for _ in range(UPDATE_ATTEMPTS):
            before, revision = await self.get(tenant, object_id)
            after = await decide(before)
            if after == before:
                return before
            try:
                await self.put(tenant, object_id, after, revision)
            except Conflict:
                continue
            return after
        raise conflict(f"the {self._label} is being changed by others all the time; try again")

    async def remove(self, tenant: str, object_id: str) -> None:
        """Delete the object; there need not be one. Raises BusError."""
        await self._kv.delete(self._bucket, f"{tenant}.{object_id}")
        self._forget(f"{tenant}.{object_id}")

    async def erase(self, tenant: str, object_id: str, revision: int) -> None:
        """As `remove`, after the bytes of that revision have been overwritten on the disk. For an erased bucket."""
        await self._kv.erase(self._bucket, revision)
        await self.remove(tenant, object_id)

    def _missing(self) -> ApiError:
        return not_found(self._label, code=self._missing_code)

    # --- lists -----------------------------------------------------------------------------------------------------

    async def newest(
        self, tenant: str, *, below: str | None, limit: int, keep: Callable[[ListEntry], bool]
    ) -> tuple[list[T], str | None]:
        """Up to `limit` objects, newest first, older than the id `below`; and the id to go on below, if any."""
        ids: list[str] = []
        for object_id in self._ids_below(tenant, below):
            if keep(self._entries[f"{tenant}.{object_id}"][1]):
                ids.append(object_id)
            if len(ids) > limit:
                break
        page = ids[:limit]
        found = await asyncio.gather(*(self.find(tenant, object_id) for object_id in page))
        return [pair[0] for pair in found if pair], page[-1] if len(ids) > limit else None

    def _ids_below(self, tenant: str, below: str | None) -> Iterator[str]:
        ids = self._ids.get(tenant, [])
        end = len(ids) if below is None else bisect_left(ids, below)
        return (ids[i] for i in range(end - 1, -1, -1))

    def entries(self) -> list[tuple[str, str, ListEntry]]:
        """Tenant, id and entry of every object of every tenant."""
        return [
            (tenant, object_id, self._entries[f"{tenant}.{object_id}"][1])
            for tenant, ids in self._ids.items()
            for object_id in ids
        ]

    def knows(self, tenant: str, object_id: str) -> bool:
        """Whether the object is in the lists."""
        return f"{tenant}.{object_id}" in self._entries

    def revisions(self) -> dict[tuple[str, str], int]:
        """The newest known revision of every object of every tenant, by tenant and id."""
        return {
            (tenant, object_id): self._entries[f"{tenant}.{object_id}"][0]
            for tenant, ids in self._ids.items()
            for object_id in ids
        }

    def count(self, tenant: str) -> int:
        """How many objects the tenant has."""
        return len(self._ids.get(tenant, ()))

    # --- the order in memory ---------------------------------------------------------------------------------------

    async def follow(self, current: Callable[[], None] = lambda: None) -> None:
        """Keep the order current until cancelled. `current` is called whenever it was seen to be current."""
        await keep_watching(partial(self._watch, current), on=BusError, what="bucket", bucket=self._bucket)

    async def _watch(self, current: Callable[[], None]) -> None:
        async for entry in self._kv.watch(self._bucket, "*.*"):
            if entry is None:
                self._listed.set()
            else:
                self._observe(entry)
            if self._listed.is_set():
                current()

    def _observe(self, entry: Entry) -> None:
        """Take a revision of an object into the order, unless a newer one is known."""
        known, before = self._entries.get(entry.key, (0, None))
        if entry.revision <= known:
            return
        if entry.value is None:
            self._forget(entry.key)
            return
        try:
            listed = self._entry_decoder.decode(entry.value)
        except msgspec.MsgspecError:  # this object is not listed; the others are
            _log.error(
                "an entry of a bucket cannot be read", bucket=self._bucket, entry=entry.key
            )  # not `key`: logs redact it
            return
        tenant, object_id = entry.key.split(".")
        if not known:
            insort(self._ids.setdefault(tenant, []), object_id)
        self._entries[entry.key] = (entry.revision, listed)
        self._changed(tenant, before, listed)

    def _forget(self, key: str) -> None:
        if known := self._entries.pop(key, None):
            tenant, object_id = key.split(".")
            self._ids[tenant].remove(object_id)
            self._changed(tenant, known[1], None)
