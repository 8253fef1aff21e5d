"""The buckets: what every bus must do with keys, revisions, times to live and watches."""

import asyncio

import pytest

from holdfast.bus.api import Bus, Entry
from holdfast.bus.errors import Conflict
from holdfast.bus.ids import new_id
from holdfast.testing.contracts.helpers import Connect
from holdfast.testing.eventually import eventually


@pytest.fixture
def name() -> str:
    return new_id("k")


async def test_keys_are_written_under_check(bus: Bus, name: str) -> None:
    assert await bus.kv.get("agents", name) is None
    first = await bus.kv.create("agents", name, b"1")
    with pytest.raises(Conflict):
        await bus.kv.create("agents", name, b"other")
    second = await bus.kv.update("agents", name, b"2", first)
    with pytest.raises(Conflict) as caught:
        await bus.kv.update("agents", name, b"3", first)
    assert caught.value.actual == second
    assert await bus.kv.get("agents", name) == Entry(name, b"2", second)
    assert await bus.kv.get("agents", name, leader=False) == Entry(name, b"2", second)
    third = await bus.kv.put("agents", name, b"3")
    assert third > second
    await bus.kv.delete("agents", name)
    assert await bus.kv.get("agents", name) is None
    assert [e.key for e in await bus.kv.list("agents", name)] == []
    fourth = await bus.kv.create("agents", name, b"4")
    assert await bus.kv.list("agents", name) == [Entry(name, b"4", fourth)]


async def test_a_value_that_is_erased_is_gone_and_the_key_may_be_written_again(bus: Bus, name: str) -> None:
    first = await bus.kv.put("snap", name, b"1")
    second = await bus.kv.put("snap", name, b"2")
    await bus.kv.erase("snap", first)
    assert await bus.kv.get("snap", name) == Entry(name, b"2", second), "only the value of that revision"
    await bus.kv.erase("snap", second)
    assert await bus.kv.get("snap", name) is None
    assert await bus.kv.list("snap", name) == []
    await bus.kv.erase("snap", second)
    third = await bus.kv.create("snap", name, b"3")
    assert await bus.kv.get("snap", name, leader=False) == Entry(name, b"3", third)


async def test_all_values_that_match_are_erased(bus: Bus, name: str) -> None:
    await bus.kv.put("snap", name, b"whole")
    for part in range(3):
        await bus.kv.put("snap", f"{name}.{part}", b"x" * 2_000_000)  # a page of its own each
    await bus.kv.put("snap", f"{name}x.0", b"another")
    assert await bus.kv.erase_all("snap", f"{name}.>") == 3
    assert [entry.key for entry in await bus.kv.list("snap", f"{name}.>")] == []
    assert await bus.kv.erase_all("snap", f"{name}.>") == 0, "safe to repeat"
    assert await bus.kv.get("snap", name) is not None
    assert await bus.kv.erase_all("snap", name) == 1
    assert await bus.kv.get("snap", name) is None
    assert await bus.kv.get("snap", f"{name}x.0") is not None


async def test_lists_match_patterns(bus: Bus, name: str) -> None:
    for part in ("a", "b.c", "b.d"):
        await bus.kv.put("envs", f"{name}.{part}", part.encode())
    assert {e.key for e in await bus.kv.list("envs", f"{name}.>")} == {f"{name}.{p}" for p in ("a", "b.c", "b.d")}
    assert {e.key for e in await bus.kv.list("envs", f"{name}.*")} == {f"{name}.a"}
    assert {e.key for e in await bus.kv.list("envs", f"{name}.b.*")} == {f"{name}.b.c", f"{name}.b.d"}
    with pytest.raises(ValueError, match="not a key"):
        await bus.kv.put("envs", "a.>", b"")


async def test_a_key_with_a_ttl_expires_unless_it_is_written_again(joined: Connect, name: str) -> None:
    one, two = await joined("one"), await joined("two")
    changes = two.kv.watch("hands", f"w.a0.{name}")
    assert await anext(changes) is None
    loop = asyncio.get_running_loop()
    await one.kv.put("hands", f"w.a0.{name}", b"1", ttl=2)
    began = loop.time()
    written_again = await one.kv.put("hands", f"w.a0.{name}", b"2", ttl=2)
    values = [await asyncio.wait_for(anext(changes), 5) for _ in range(3)]
    assert [v.value if v else v for v in values] == [b"1", b"2", None]
    assert 1.8 < loop.time() - began < 3
    assert await one.kv.get("hands", f"w.a0.{name}") is None
    created = await one.kv.create("hands", f"w.a0.{name}", b"3")
    assert created > written_again


async def test_an_update_may_let_a_key_expire(joined: Connect, name: str) -> None:
    one = await joined("one")
    created = await one.kv.create("tasks", f"t.{name}.1", b"1")
    await one.kv.update("tasks", f"t.{name}.1", b"2", created, ttl=1)
    entry = await one.kv.get("tasks", f"t.{name}.1")
    assert entry
    assert entry.value == b"2"

    async def is_gone() -> bool:
        return await one.kv.get("tasks", f"t.{name}.1") is None

    await eventually(is_gone, within=5, what="expired")


async def test_a_watch_shows_what_is_there_and_then_every_change(joined: Connect, name: str) -> None:
    one, two = await joined("one"), await joined("two")
    first = await one.kv.put("keys", f"{name}.a", b"1")
    await one.kv.put("keys", f"{name}.gone", b"1")
    await one.kv.delete("keys", f"{name}.gone")
    changes = two.kv.watch("keys", f"{name}.>")
    assert await anext(changes) == Entry(f"{name}.a", b"1", first)
    assert await anext(changes) is None
    second = await one.kv.put("keys", f"{name}.b", b"2")
    await one.kv.delete("keys", f"{name}.a")
    assert await asyncio.wait_for(anext(changes), 5) == Entry(f"{name}.b", b"2", second)
    deleted = await asyncio.wait_for(anext(changes), 5)
    assert deleted
    assert (deleted.key, deleted.value) == (f"{name}.a", None)
