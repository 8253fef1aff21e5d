"""`api.KeyValue` in memory."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec

from holdfast.bus import subjects
from holdfast.bus.api import Entry
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.records import matches


class MemoryKeyValue:
    """`api.KeyValue` in memory."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self._server = link.server

    async def get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        """See `api.KeyValue.get`."""
        await self._link.pause("kv.get")
        entry = self._server.buckets[bucket].get(key)
        await self._link.pause("kv.get:answer")
        return entry if entry and entry.value is not None else None

    async def put(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.put`."""
        subjects.bucket_key(key)
        return await self._link.effect("kv.put", lambda: self._server.kv_write(bucket, key, value, ttl=ttl))

    async def create(self, bucket: str, key: str, value: bytes, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.create`."""
        subjects.bucket_key(key)
        return await self._link.effect(
            "kv.create", lambda: self._server.kv_write(bucket, key, value, ttl=ttl, expect=0)
        )

    async def put_new(self, bucket: str, key: str, value: bytes) -> int:
        """See `api.KeyValue.put_new`."""
        subjects.bucket_key(key)
        return await self._link.effect("kv.put_new", lambda: self._server.kv_write(bucket, key, value, expect=0))

    async def update(self, bucket: str, key: str, value: bytes, revision: int, *, ttl: float = 0.0) -> int:
        """See `api.KeyValue.update`."""
        return await self._link.effect(
            "kv.update", lambda: self._server.kv_write(bucket, key, value, ttl=ttl, expect=revision)
        )

    async def delete(self, bucket: str, key: str) -> None:
        """See `api.KeyValue.delete`."""
        await self._link.effect("kv.delete", lambda: self._server.kv_write(bucket, key, None))

    async def erase(self, bucket: str, revision: int) -> None:
        """See `api.KeyValue.erase`."""
        await self._link.effect("kv.erase", lambda: self._server.kv_erase(bucket, revision))

    async def erase_all(self, bucket: str, match: str) -> int:
        """See `api.KeyValue.erase_all`."""
        return await self._link.effect("kv.erase_all", lambda: self._server.kv_erase_all(bucket, match))

    async def list(self, bucket: str, match: str = ">") -> list[Entry]:
        """See `api.KeyValue.list`."""
        await self._link.pause("kv.list")
        found = self._living(bucket, match)
        await self._link.pause("kv.list:answer")
        return found

    def _living(self, bucket: str, match: str) -> "list[Entry]":
        pattern = subjects.bucket_changes(bucket, match)
        entries = self._server.buckets[bucket].values()
        return [e for e in entries if e.value is not None and matches(pattern, subjects.bucket_changes(bucket, e.key))]

    async def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        """See `api.KeyValue.watch`."""
        changes: asyncio.Queue[Entry] = asyncio.Queue()
        subscription = self._link.listen(
            subjects.bucket_changes(bucket, match),
            lambda message: changes.put_nowait(msgspec.msgpack.decode(message.data, type=Entry)),
        )
        try:
            await self._link.pause("kv.watch")
            known: dict[str, int] = {}
            for entry in self._living(bucket, match):
                known[entry.key] = entry.revision
                yield entry
            yield None
            while True:
                entry = await changes.get()
                await self._link.pause("kv.watch:heard")
                if entry.revision <= known.get(entry.key, 0):
                    continue
                if entry.value is not None:
                    known[entry.key] = entry.revision
                elif not known.pop(entry.key, 0):
                    continue
                yield entry
        finally:
            await subscription.close()
