"""API keys: installs them, and finds the record of the key of a request."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import msgspec
import structlog

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import BusError, Conflict, Damaged, Newer
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.process.retry import keep_watching
from holdfast.session.http.key_record import BUCKET, MIN_KEY_CHARACTERS, KeyRecord, digest, stored
from holdfast.session.http.roles import Role
from holdfast.session.http.token_bucket import TokenBucket

LOOK_UPS_PER_S: Final = 20.0
LOOK_UPS_AT_ONCE: Final = 50.0
"""Look-ups of unknown keys in the bucket, for all clients together, so that guessing costs the bus nothing. A new key
is in memory some milliseconds after it was installed, and needs no look-up from then on."""

_log = structlog.get_logger()


async def install(kv: KeyValue, key: str, *, tenant: str, name: str, now: int, role: Role = "tenant") -> bool:
    """Store the hash of `key`; False if it is stored already, for any tenant. Raises ValueError for a short key.

    `now` is in microseconds since 1970.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        raise ValueError(f"an API key needs at least {MIN_KEY_CHARACTERS} characters")
    record = KeyRecord(tenant=tenant, id=new_id("apikey"), name=name, created=now, role=role)
    try:
        await kv.create(BUCKET, digest(key), stored(record))
    except Conflict:
        return False
    return True


async def install_first(kv: KeyValue, key: str, *, tenant: str, now: int) -> str:
    """Make the operator's key an admin key, and say in one word what was done. Raises ValueError, BusError.

    A key of a version before roles becomes an admin key. One that was revoked stays revoked, and one that somebody gave
    a role keeps it.
    """
    if await install(kv, key, tenant=tenant, name="first", now=now, role="admin"):
        return "installed"
    entry = await kv.get(BUCKET, digest(key))
    record = decode_record(KeyRecord, entry.value) if entry and entry.value else None
    if entry is None or record is None:
        return "removed"
    if record.revoked_at is not None:
        return "revoked"
    if record.role is not None:
        return "known"
    try:
        await kv.update(BUCKET, entry.key, stored(msgspec.structs.replace(record, role="admin")), entry.revision)
    except Conflict:  # another replica has done it
        return "known"
    return "promoted"


class ApiKeys:
    """Finds the record of an API key: in memory while the bucket is watched, else in the bucket at each request.

    A removed or revoked key therefore stops working as soon as that arrives, and a lost connection never keeps it
    alive. The watch begins with a list, and a replica of the bucket that lags may list a key that was removed. So a
    record in memory counts from the first time that the leader has shown it.
    """

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._records: dict[str, KeyRecord] = {}
        self._confirmed: set[str] = set()
        """Digests of the records in memory that the leader of the bucket has shown since the watch began."""
        self._endings: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        """By digest, what `ending` has returned and somebody still holds."""
        self._watching = asyncio.Event()
        self._look_ups = TokenBucket(LOOK_UPS_PER_S, LOOK_UPS_AT_ONCE)

    async def ready(self) -> None:
        """Wait until all keys have been read once."""
        await self._watching.wait()

    async def find(self, key: str) -> KeyRecord | None:
        """The record of `key`, None for an unknown and for a revoked one.

        A key that is not in memory is looked up, as it may be new; not while many unknown keys come.

        Raises BusError; Newer if the record is of a newer version: whether the key is valid is not known here.
        """
        hashed = digest(key)
        if self._watching.is_set():
            record = self._records.get(hashed)
            if record and record.revoked_at is not None:  # for ever, whichever replica has told it
                return None
            if record and hashed in self._confirmed:
                return record
            if not record and self._look_ups.take(asyncio.get_running_loop().time()):
                return None
        listed = self._records.get(hashed)
        entry = await self._kv.get(BUCKET, hashed)
        found = decode_record(KeyRecord, entry.value) if entry and entry.value else None
        if listed and listed is self._records.get(hashed):  # the watch has told nothing of it meanwhile
            if found:
                self._records[hashed] = found
                self._confirmed.add(hashed)
            else:
                del self._records[hashed]
        return found if found and found.revoked_at is None else None

    def ending(self, key: str) -> asyncio.Event:
        """Set when `key` is removed or revoked. Ask for it before `find`, so that nothing falls between the two."""
        return self._endings.setdefault(digest(key), asyncio.Event())

    async def follow(self, current: Callable[[], None] = lambda: None) -> None:
        """Keep the memory current until cancelled. `current` is called whenever it was seen to be current."""
        await keep_watching(partial(self._watch, current), on=BusError, what="API keys")

    async def _watch(self, current: Callable[[], None]) -> None:
        """Follow the bucket. At its end the memory is emptied: from then on each request looks its key up."""
        try:
            async for entry in self._kv.watch(BUCKET):
                if entry:
                    self._observe(entry)
                elif not self._watching.is_set():
                    await self._end_missing()
                    self._watching.set()
                if self._watching.is_set():
                    current()
        finally:
            self._watching.clear()
            self._records.clear()
            self._confirmed.clear()

    def _observe(self, entry: Entry) -> None:
        self._records.pop(entry.key, None)
        self._confirmed.discard(entry.key)
        if entry.value is None:
            self._end(entry.key)
            return
        try:
            record = self._records[entry.key] = decode_record(KeyRecord, entry.value)
        except (Newer, Damaged) as exc:  # this key does not work here; the others do
            _log.warning("the record of an API key cannot be read", digest=entry.key[:8], cause=str(exc))
            return
        if record.revoked_at is not None:
            self._end(entry.key)

    async def _end_missing(self) -> None:
        """End the keys that were removed while nobody watched: a list shows only what is there. Raises BusError."""
        for hashed in [one for one in self._endings if one not in self._records]:
            entry = await self._kv.get(BUCKET, hashed)
            if entry is None:
                self._end(hashed)

    def _end(self, hashed: str) -> None:
        if (ending := self._endings.get(hashed)) is not None:
            ending.set()
