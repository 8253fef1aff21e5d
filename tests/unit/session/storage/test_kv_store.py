"""Updates of an object in a bucket while other writers come first."""

import msgspec
import pytest

from holdfast.session.http.errors import ApiError
from holdfast.session.storage.kv_store import UPDATE_ATTEMPTS, KvStore
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    v: int = 1
    created_at: int = 1
    archived_at: int | None = None


@pytest.fixture
def store() -> KvStore[Thing]:
    return KvStore(MemoryBus(MemoryServer(), "test").kv, "agents", Thing, label="thing", missing_code="thing_not_found")


async def add(store: KvStore[Thing], by: int) -> Thing:
    async def decide(before: Thing) -> Thing:
        return msgspec.structs.replace(before, count=before.count + by)

    return await store.update("t", "thing_1", decide)


async def test_an_update_decides_again_when_another_writer_comes_first(store: KvStore[Thing]) -> None:
    await store.put("t", "thing_1", Thing(count=0), 0)
    seen: list[int] = []

    async def decide(before: Thing) -> Thing:
        seen.append(before.count)
        if len(seen) == 1:
            await add(store, 100)
        return msgspec.structs.replace(before, count=before.count + 1)

    assert (await store.update("t", "thing_1", decide)).count == 101
    assert seen == [0, 100]
    assert (await store.get("t", "thing_1"))[0].count == 101


async def test_an_update_that_always_loses_ends_in_a_conflict(store: KvStore[Thing]) -> None:
    await store.put("t", "thing_1", Thing(count=0), 0)
    calls = 0

    async def decide(before: Thing) -> Thing:
        nonlocal calls
        calls += 1
        await add(store, 100)
        return msgspec.structs.replace(before, count=before.count + 1)

    with pytest.raises(ApiError, match="the thing is being changed by others") as refused:
        await store.update("t", "thing_1", decide)
    assert refused.value.status == 409
    assert calls == UPDATE_ATTEMPTS
    assert (await store.get("t", "thing_1"))[0].count == 100 * UPDATE_ATTEMPTS


async def test_an_update_to_an_equal_value_stores_nothing(store: KvStore[Thing]) -> None:
    revision = await store.put("t", "thing_1", Thing(count=0), 0)
    assert (await add(store, 0)).count == 0
    assert (await store.get("t", "thing_1"))[1] == revision


async def test_what_is_not_there_is_a_404_with_the_code_of_the_store(store: KvStore[Thing]) -> None:
    for object_id in ("thing_1", "no.id"):
        with pytest.raises(ApiError, match="thing not found") as refused:
            await store.get("t", object_id)
        assert (refused.value.status, refused.value.details) == (404, {"error_code": "thing_not_found"})
    with pytest.raises(ApiError, match="thing not found"):
        await add(store, 1)


async def test_an_object_in_memory_is_never_older_than_what_this_process_wrote(store: KvStore[Thing]) -> None:
    await store.put("t", "thing_1", Thing(count=0), 0)
    assert (await store.cached("t", "thing_1")).count == 0
    await add(store, 1)
    assert (await store.cached("t", "thing_1")).count == 1
    await store.remove("t", "thing_1")
    with pytest.raises(ApiError):
        await store.cached("t", "thing_1")
