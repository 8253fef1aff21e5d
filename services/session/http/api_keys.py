"""API keys: the bucket `keys` holds the SHA-256 of each key and whose it is; the key itself is stored nowhere.

A plain hash is right here, as it would not be for passwords: a key is 256 random bits, so there is nothing to guess
and a slow, salted hash would only slow down each request. Keys chosen by people are therefore not taken (MIN_KEY).
The look-up is by hash, so no comparison runs over secret text and none needs to take constant time: what an attacker
could learn from the timing is the prefix of a hash whose input they cannot steer.
"""

import asyncio
import hashlib
import secrets
from typing import Final

import msgspec
import structlog

from holdfast.bus.api import KeyValue
from holdfast.bus.errors import BusError, Conflict
from holdfast.bus.ids import new_id

BUCKET: Final = "keys"
PREFIX: Final = "hf-key-"

MIN_KEY: Final = 32
"""Shortest key in characters that may be installed."""

_RETRY: Final = 0.5
"""Seconds between two attempts to watch the bucket."""

_log = structlog.get_logger()


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Who may do what with a key; `created` in microseconds."""

    v: int = 1
    tenant: str
    id: str
    name: str
    created: int


def new_key() -> str:
    """A fresh key with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """The name of a key in the bucket: SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


async def install(kv: KeyValue, key: str, *, tenant: str, name: str, now: int) -> bool:
    """Store the hash of `key`; False if it is there already, whoever's it is. Raises ValueError for a short key."""
    if len(key) < MIN_KEY:
        raise ValueError(f"an API key needs at least {MIN_KEY} characters")
    record = KeyRecord(tenant=tenant, id=new_id("apikey"), name=name, created=now)
    try:
        await kv.create(BUCKET, digest(key), msgspec.json.encode(record))
    except Conflict:
        return False
    return True


class Keys:
    """Answers whose a key is. While the watch stands, from memory; without it, from the bucket each time.

    A removed key therefore stops working as soon as its deletion arrives, and a lost connection never keeps it alive.
    """

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._known: dict[str, KeyRecord] = {}
        self._current = asyncio.Event()

    async def ready(self) -> None:
        """Wait until all keys have been read once."""
        await self._current.wait()

    async def owner(self, key: str) -> KeyRecord | None:
        """The record of `key`. One that is not in memory is looked up: it may have been made a moment ago."""
        name = digest(key)
        if self._current.is_set() and (known := self._known.get(name)):
            return known
        entry = await self._kv.get(BUCKET, name)
        return msgspec.json.decode(entry.value, type=KeyRecord) if entry and entry.value else None

    async def follow(self) -> None:
        """Keep the memory current until cancelled."""
        while True:
            try:
                await self._watch()
            except BusError as exc:
                _log.warning("lost sight of the API keys; each is looked up until they are back", cause=str(exc))
            finally:
                self._current.clear()
                self._known.clear()
            await asyncio.sleep(_RETRY)

    async def _watch(self) -> None:
        async for entry in self._kv.watch(BUCKET):
            if entry is None:
                self._current.set()
            elif entry.value is None:
                self._known.pop(entry.key, None)
            else:
                try:
                    self._known[entry.key] = msgspec.json.decode(entry.value, type=KeyRecord)
                except msgspec.MsgspecError:  # such a key opens nothing; the others go on
                    self._known.pop(entry.key, None)
                    _log.error("the record of an API key cannot be read", key=entry.key[:8])
