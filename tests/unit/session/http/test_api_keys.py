"""API keys: how they are made, what is stored of them, and that no log shows them."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from msgspec.structs import replace

from holdfast.bus.api import Entry
from holdfast.bus.errors import Unavailable
from holdfast.bus.records import decode_record
from holdfast.process.api_keys import new_api_key
from holdfast.process.logs import REDACTED, scrub
from holdfast.session.http import api_keys
from holdfast.session.http.key_record import BUCKET, MIN_KEY_CHARACTERS, KeyRecord, digest, stored
from holdfast.testing.eventually import eventually
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.kv import MemoryKeyValue
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.server import MemoryServer


def test_a_new_key_is_long_and_random_and_its_digest_says_nothing() -> None:
    made = {new_api_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) >= MIN_KEY_CHARACTERS
        assert digest(key) not in key
        assert key not in digest(key)
        assert len(digest(key)) == 64


def test_a_key_in_a_log_line_is_scrubbed() -> None:
    for _ in range(100):
        assert scrub(f"key {new_api_key()} is unknown") == f"key {REDACTED} is unknown"


class LaggingReplica(MemoryKeyValue):
    """The bucket in memory, whose watch begins with an old list, as a replica that lags gives it."""

    old: tuple[Entry, ...] = ()
    reads = 0

    async def get(self, bucket: str, key: str, *, leader: bool = True) -> Entry | None:
        self.reads += 1
        return await super().get(bucket, key, leader=leader)

    async def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        for entry in self.old:
            yield entry
        async for entry in super().watch(bucket, match):
            yield entry


async def test_a_removed_key_is_refused_although_a_replica_still_lists_it() -> None:
    server = MemoryServer()
    kv = MemoryBus(server).kv
    removed, kept = new_api_key(), new_api_key()
    for key in (removed, kept):
        await api_keys.install(kv, key, tenant="t", name="n", now=1)
    lagging = LaggingReplica(MemoryLink(server, "edge"))
    lagging.old = tuple(await kv.list(BUCKET))
    await kv.delete(BUCKET, digest(removed))
    keys = api_keys.ApiKeys(lagging)
    following = asyncio.create_task(keys.follow())
    try:
        await asyncio.wait_for(keys.ready(), 10)
        for _ in range(3 * int(api_keys.LOOK_UPS_AT_ONCE)):
            assert await keys.find(removed) is None
        assert lagging.reads < 2 * api_keys.LOOK_UPS_AT_ONCE, "a removed key costs no more than an unknown one"
        for _ in range(2):  # from the leader, then from memory
            record = await keys.find(kept)
            assert record
            assert record.tenant == "t"
        await kv.delete(BUCKET, digest(kept))

        async def refused() -> bool:
            return await keys.find(kept) is None

        await eventually(refused, what="the removed key refused")
    finally:
        following.cancel()


class OldWatch(LaggingReplica):
    """The bucket in memory, whose watch tells of an old list and of nothing else."""

    async def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        for entry in (*self.old, None):
            yield entry
        await asyncio.Event().wait()


async def test_a_key_that_changed_after_an_old_list_is_as_the_leader_has_it() -> None:
    server = MemoryServer()
    kv = MemoryBus(server).kv
    key = new_api_key()
    await api_keys.install(kv, key, tenant="before", name="n", now=1)
    lagging = OldWatch(MemoryLink(server, "edge"))
    lagging.old = tuple(await kv.list(BUCKET))
    await kv.delete(BUCKET, digest(key))
    await api_keys.install(kv, key, tenant="after", name="n", now=2)
    keys = api_keys.ApiKeys(lagging)
    following = asyncio.create_task(keys.follow())
    try:
        await asyncio.wait_for(keys.ready(), 10)
        for _ in range(3):
            record = await keys.find(key)
            assert record
            assert record.tenant == "after"
        assert lagging.reads == 1, "from memory"
    finally:
        following.cancel()


async def test_the_memory_is_told_to_be_current_after_the_first_list_and_after_each_change() -> None:
    kv = MemoryBus(MemoryServer()).kv
    await api_keys.install(kv, new_api_key(), tenant="t", name="n", now=1)
    keys, told = api_keys.ApiKeys(kv), asyncio.Event()
    following = asyncio.create_task(keys.follow(told.set))
    try:
        await asyncio.wait_for(told.wait(), 10)
        told.clear()
        await api_keys.install(kv, new_api_key(), tenant="t", name="n", now=2)
        await asyncio.wait_for(told.wait(), 10)
    finally:
        following.cancel()


class BrokenWatch(MemoryKeyValue):
    """The bucket in memory, whose first watch breaks off when `broken` is set."""

    broken: asyncio.Event | None = None

    async def watch(self, bucket: str, match: str = ">") -> AsyncGenerator[Entry | None]:
        async for entry in super().watch(bucket, match):
            yield entry
            if entry is None and self.broken:
                await self.broken.wait()
                self.broken = None
                raise Unavailable("the connection is lost")


async def test_the_streams_of_a_key_end_however_its_end_is_learned() -> None:
    """From the watch, by a record that says so or by its removal, or from the list of the next watch."""
    server = MemoryServer()
    kv = MemoryBus(server).kv
    broken = BrokenWatch(MemoryLink(server, "edge"))
    broken.broken = lost = asyncio.Event()
    removed_unseen, removed, revoked, kept = (new_api_key() for _ in range(4))
    for key in (removed_unseen, removed, revoked, kept):
        await api_keys.install(kv, key, tenant="t", name="n", now=1)
    keys = api_keys.ApiKeys(broken)
    following = asyncio.create_task(keys.follow())
    try:
        await asyncio.wait_for(keys.ready(), 10)
        endings = {key: keys.ending(key) for key in (removed_unseen, removed, revoked, kept)}
        assert keys.ending(kept) is endings[kept], "all streams of a key share one"
        await kv.delete(BUCKET, digest(removed_unseen))
        lost.set()
        await asyncio.wait_for(endings[removed_unseen].wait(), 10)
        await kv.delete(BUCKET, digest(removed))
        await asyncio.wait_for(endings[removed].wait(), 10)
        entry = await kv.get(BUCKET, digest(revoked))
        assert entry
        record = decode_record(KeyRecord, entry.value or b"")
        await kv.update(BUCKET, entry.key, stored(replace(record, revoked_at=2)), entry.revision)
        await asyncio.wait_for(endings[revoked].wait(), 10)
        assert await keys.find(revoked) is None
        assert not endings[kept].is_set()
        assert await keys.find(kept)
    finally:
        following.cancel()


async def test_the_operators_key_becomes_an_admin_key_unless_somebody_has_decided_otherwise() -> None:
    kv = MemoryBus(MemoryServer()).kv

    async def role_of(key: str) -> str | None:
        entry = await kv.get(BUCKET, digest(key))
        return decode_record(KeyRecord, entry.value or b"").role if entry else None

    first = new_api_key()
    assert await api_keys.install_first(kv, first, tenant="t", now=1) == "installed"
    assert await api_keys.install_first(kv, first, tenant="t", now=2) == "known"
    assert await role_of(first) == "admin"
    before_roles, narrowed, revoked = new_api_key(), new_api_key(), new_api_key()
    old = b'{"v":1,"tenant":"t","id":"apikey_1","name":"n","created":1}'
    await kv.create(BUCKET, digest(before_roles), old)
    assert await api_keys.install_first(kv, before_roles, tenant="t", now=2) == "promoted"
    assert await role_of(before_roles) == "admin"
    await api_keys.install(kv, narrowed, tenant="t", name="n", now=1, role="read_only")
    assert await api_keys.install_first(kv, narrowed, tenant="t", now=2) == "known"
    assert await role_of(narrowed) == "read_only"
    ended = KeyRecord(tenant="t", id="apikey_2", name="n", created=1, revoked_at=2)
    await kv.create(BUCKET, digest(revoked), stored(ended))
    assert await api_keys.install_first(kv, revoked, tenant="t", now=3) == "revoked"
    assert await role_of(revoked) is None
    with pytest.raises(ValueError, match="32 characters"):
        await api_keys.install_first(kv, "secret", tenant="t", now=1)
