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
        assert await keys.find(removed) is None
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
