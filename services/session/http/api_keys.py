"""API keys: the bucket `keys` holds the SHA-256 of each key and its tenant; the key itself is stored nowhere.

A plain hash is right here, as it would not be for passwords: a key is 256 random bits, so there is nothing to guess
and a slow, salted hash would only slow down each request. Keys chosen by people are therefore refused
(MIN_KEY_CHARACTERS). The look-up is by hash, so no comparison runs over secret text and none needs to take constant
time: an attacker could learn from the timing only the prefix of a hash whose input they cannot steer.
"""

import asyncio
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import structlog

from holdfast.bus.api import Entry, KeyValue
from holdfast.bus.errors import BusError, Conflict, Damaged, Newer
from holdfast.bus.ids import new_id
from holdfast.bus.records import decode_record
from holdfast.process.retry import keep_watching

BUCKET: Final = "keys"

MIN_KEY_CHARACTERS: Final = 32
"""Length of the shortest key that may be installed."""

LOOK_UPS_PER_S: Final = 20.0
LOOK_UPS_AT_ONCE: Final = 50.0
"""Look-ups of unknown keys in the bucket, for all clients together, so that guessing costs the bus nothing. A new key
is in memory some milliseconds after it was installed, and needs no look-up from then on."""

_log = structlog.get_logger()


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """The tenant of a key, and when it was installed (`created`, microseconds since 1970)."""

    v: int = 1
    tenant: str
    id: str
    name: str
    created: int


def digest(key: str) -> str:
    """The key of the bucket under which an API key is found: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


async def install(kv: KeyValue, key: str, *, tenant: str, name: str, now: int) -> bool:
    """Store the hash of `key`; False if it is stored already, for any tenant. Raises ValueError for a short key.

    `now` is in microseconds since 1970.
    """
    if len(key) < MIN_KEY_CHARACTERS:
        raise ValueError(f"an API key needs at least {MIN_KEY_CHARACTERS} characters")
    record = KeyRecord(tenant=tenant, id=new_id("apikey"), name=name, created=now)
    try:
        await kv.create(BUCKET, digest(key), msgspec.json.encode(record))
    except Conflict:
        return False
    return True


class LookUps:
    """A token bucket. Times are those of a clock in seconds that never goes back. Pure."""

    def __init__(self) -> None:
        self._left = LOOK_UPS_AT_ONCE
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more look-up is admitted at `now`."""
        self._left = min(LOOK_UPS_AT_ONCE, self._left + (now - self._at) * LOOK_UPS_PER_S)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class ApiKeys:
    """Finds the record of an API key: in memory while the bucket is watched, else in the bucket at each request.

    A removed key therefore stops working as soon as its deletion arrives, and a lost connection never keeps it alive.
    The watch begins with a list, and a replica of the bucket that lags may list a key that was removed. So a record in
    memory counts from the first time that the leader has shown it.
    """

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._records: dict[str, KeyRecord] = {}
        self._confirmed: set[str] = set()
        """Digests of the records in memory that the leader of the bucket has shown since the watch began."""
        self._watching = asyncio.Event()
        self._look_ups = LookUps()

    async def ready(self) -> None:
        """Wait until all keys have been read once."""
        await self._watching.wait()

    async def find(self, key: str) -> KeyRecord | None:
        """The record of `key`, None for an unknown one.

        A key that is not in memory is looked up, as it may be new; not while many unknown keys come.

        Raises BusError; Newer if the record is of a newer version: whether the key is valid is not known here.
        """
        hashed = digest(key)
        if self._watching.is_set():
            record = self._records.get(hashed)
            if record and hashed in self._confirmed:
                return record
            if not record and not self._look_ups.take(asyncio.get_running_loop().time()):
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
        return found

    async def follow(self, current: Callable[[], None] = lambda: None) -> None:
        """Keep the memory current until cancelled. `current` is called whenever it was seen to be current."""
        await keep_watching(partial(self._watch, current), on=BusError, what="API keys")

    async def _watch(self, current: Callable[[], None]) -> None:
        """Follow the bucket. At its end the memory is emptied: from then on each request looks its key up."""
        try:
            async for entry in self._kv.watch(BUCKET):
                if entry is None:
                    self._watching.set()
                else:
                    self._observe(entry)
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
            return
        try:
            self._records[entry.key] = decode_record(KeyRecord, entry.value)
        except (Newer, Damaged) as exc:  # this key does not work here; the others do
            _log.warning("the record of an API key cannot be read", digest=entry.key[:8], cause=str(exc))
