"""API keys: how they are made, what is stored of them, and that no log shows them."""

import asyncio
from collections.abc import AsyncGenerator

from holdfast.bus.api import Entry
from holdfast.process.api_keys import new_api_key
from holdfast.process.logs import REDACTED, scrub
from holdfast.session.http import api_keys
from holdfast.testing.eventually import eventually
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.kv import MemoryKeyValue
from holdfast.testing.memory.link import MemoryLink
from holdfast.testing.memory.server import MemoryServer


def test_a_new_key_is_long_and_random_and_its_digest_says_nothing() -> None:
    made = {new_api_key() for _ in range(100)}
    assert len(made) == 100
    for key in made:
        assert len(key) >= api_keys.MIN_KEY_CHARACTERS
        assert api_keys.digest(key) not in key
        assert key not in api_keys.digest(key)
        assert len(api_keys.digest(key)) == 64


def test_look_ups_of_unknown_keys_are_limited_and_come_back() -> None:
    look_ups = api_keys.LookUps()
    assert sum(look_ups.take(100.0) for _ in range(1000)) == api_keys.LOOK_UPS_AT_ONCE
    assert not look_ups.take(100.0)
    assert look_ups.take(100.06)
    assert not look_ups.take(100.06)
    assert sum(look_ups.take(200.0) for _ in range(1000)) == api_keys.LOOK_UPS_AT_ONCE


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
    lagging.old = tuple(await kv.list(api_keys.BUCKET))
    await kv.delete(api_keys.BUCKET, api_keys.digest(removed))
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
        await kv.delete(api_keys.BUCKET, api_keys.digest(kept))

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
    lagging.old = tuple(await kv.list(api_keys.BUCKET))
    await kv.delete(api_keys.BUCKET, api_keys.digest(key))
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
