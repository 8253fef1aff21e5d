"""The log: what every bus must do with appends, reads, tails and large events."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import Conflict, Refused
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.testing.contracts.helpers import Connect, append_commits, user_commit


async def test_the_log_keeps_commits_in_order(bus: Bus, key: Key) -> None:
    stored = await append_commits(bus, key, 3)
    assert await bus.log.read(key) == stored
    assert await bus.log.read(key, leader=True) == stored
    assert await bus.log.read(key, stored[0].seq) == stored[1:]
    assert await bus.log.read(key, stored[1].seq, leader=True) == stored[2:]
    assert await bus.log.read(key, stored[2].seq) == []
    assert await bus.log.head(key) == stored[2]
    assert await bus.log.head(key, leader=True) == stored[2]
    assert await bus.log.get(key, stored[1].seq) == stored[1]
    assert [one async for page in bus.log.pages(key, stored[0].seq) for one in page] == stored[1:]
    short = [page async for page in bus.log.pages(key, first=1)]
    assert short[0] == stored[:1]
    assert [one for page in short for one in page] == stored


async def test_what_is_not_there_is_none(bus: Bus, key: Key) -> None:
    stored = await append_commits(bus, key, 1)
    other = Key("acme", new_session_id())
    assert await bus.log.head(other) is None
    assert await bus.log.head(other, leader=True) is None
    assert await bus.log.read(other, leader=True) == []
    assert await bus.log.get(other, stored[0].seq) is None, "the commit of another session"
    assert await bus.log.get(key, stored[0].seq + 1_000_000) is None


async def test_an_append_at_a_moved_log_is_refused_and_writes_nothing(bus: Bus, key: Key) -> None:
    first, second = await append_commits(bus, key, 2)
    with pytest.raises(Conflict) as caught:
        await bus.log.append(key, user_commit("late", first), first.seq)
    assert (caught.value.expected, caught.value.actual) == (first.seq, second.seq)
    with pytest.raises(Conflict):
        await bus.log.append(key, user_commit("again the first"), 0)
    with pytest.raises(Conflict):
        await bus.log.append(Key("acme", new_session_id()), user_commit("no log yet"), 7)
    assert await bus.log.read(key) == [first, second]


async def test_an_unchanged_commit_sent_again_is_stored_once(bus: Bus, key: Key) -> None:
    first, second, third = await append_commits(bus, key, 3)
    assert await bus.log.append(key, third.commit, second.seq) == third.seq
    assert await bus.log.append(key, second.commit, first.seq) == second.seq, "found below the last one"
    assert await bus.log.append(key, first.commit, 0) == first.seq
    assert len(await bus.log.read(key)) == 3


async def test_of_many_racing_writers_one_wins(joined: Connect, key: Key) -> None:
    buses = [await joined(f"racer-{n}") for n in range(4)]
    last: Stored | None = None
    for number in range(10):
        made = [user_commit(f"{number} by {n}", last) for n in range(4)]
        results = await asyncio.gather(
            *(b.log.append(key, m, last.seq if last else 0) for b, m in zip(buses, made, strict=True)),
            return_exceptions=True,
        )
        won = [(r, m) for r, m in zip(results, made, strict=True) if isinstance(r, int)]
        assert len(won) == 1
        assert all(isinstance(r, Conflict) for r in results if not isinstance(r, int))
        last = Stored(*won[0])
    assert (await buses[0].log.read(key))[-1] == last


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_large_event_travels_by_the_object_store(bus: Bus, key: Key, size: int) -> None:
    (first,) = await append_commits(bus, key, 1)
    made = user_commit("x" * size, first)
    stored = Stored(await bus.log.append(key, made, first.seq), made)
    head = await bus.log.head(key)
    assert head is not None
    assert [type(e) for e in head.commit.events] == [ev.Blob]
    assert head.commit.head == made.head
    assert await bus.log.read(key) == [first, stored]
    assert await bus.log.read(key, first.seq, leader=True) == [stored]
    assert await bus.log.get(key, stored.seq) == stored
    assert await bus.log.append(key, made, first.seq) == stored.seq, "put again, stored once"
    tail = bus.log.tail(key, 0)
    assert await anext(tail) is None
    assert [await anext(tail), await anext(tail)] == [first, stored]


async def test_many_middling_events_fit_one_commit(bus: Bus, key: Key) -> None:
    messages = [ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": "y" * 100_000}]) for _ in range(90)]
    made = commit(None, messages, by="test", new_id=new_id, now=1)
    seq = await bus.log.append(key, made, 0)
    assert await bus.log.read(key) == [Stored(seq, made)]


async def test_text_that_is_no_utf8_never_enters_the_log(bus: Bus, key: Key) -> None:
    with pytest.raises(Refused):
        await bus.log.append(key, user_commit("\ud800"), 0)
    assert await bus.log.read(key) == []


async def test_a_tail_has_no_gap_and_no_repetition_under_concurrent_appends(joined: Connect, key: Key) -> None:
    writer, reader = await joined("writer"), await joined("reader")
    stored = await append_commits(writer, key, 5)
    tails = [reader.log.tail(key, 0), reader.log.tail(key, stored[2].seq), reader.log.tail(key, None)]

    async def collect(tail: AsyncIterator[Stored | None], count: int) -> list[Stored]:
        found: list[Stored] = []
        async for one in tail:
            if one is not None:
                found.append(one)
            if len(found) == count:
                return found
        return found

    for tail in tails:
        assert await anext(tail) is None, "the first value says that nothing is missed from now on"
    reading = [asyncio.create_task(collect(t, n)) for t, n in zip(tails, (105, 102, 100), strict=True)]
    stored += await append_commits(writer, key, 100, stored[-1])
    found = await asyncio.wait_for(asyncio.gather(*reading), 20)
    assert found == [stored, stored[3:], stored[5:]]


@pytest.mark.parametrize("chars", [100, 20_000, 300_000])
async def test_a_reader_that_pauses_while_much_is_stored_misses_nothing(joined: Connect, key: Key, chars: int) -> None:
    writer, reader = await joined("writer"), await joined("reader")
    live, replayed = reader.log.tail(key, 0), reader.log.tail(key, 0)
    assert await anext(live) is None
    stored: list[Stored] = []
    for number in range(60):
        made = user_commit(f"{number} ".ljust(chars, "x"), stored[-1] if stored else None)
        stored.append(Stored(await writer.log.append(key, made, stored[-1].seq if stored else 0), made))
    assert await anext(replayed) is None
    async with asyncio.timeout(20):
        for tail in (live, replayed):
            found: list[Stored] = []
            while len(found) < len(stored):
                one = await anext(tail)
                if one is not None:
                    found.append(one)
            assert found == stored
    (last,) = await append_commits(writer, key, 1, stored[-1])
    async with asyncio.timeout(20):
        for tail in (live, replayed):
            while (one := await anext(tail)) is None:
                pass
            assert one == last


async def test_a_silent_tail_says_so(bus: Bus, key: Key) -> None:
    tail = bus.log.tail(key, 0)
    assert await anext(tail) is None
    assert await asyncio.wait_for(anext(tail), 10) is None


async def test_following_all_sessions_of_a_cell(joined: Connect) -> None:
    writer, reader = await joined("writer"), await joined("reader")
    keys = [Key("acme", new_session_id()) for _ in range(3)]
    first = [(k, (await append_commits(writer, k, 1))[0]) for k in keys]
    start = first[0][1].seq - 1
    following = reader.log.follow(FIRST_CELL, start)
    found: list[tuple[Key, Stored]] = []
    async for batch in following:
        found += batch
        if not batch:
            break
    assert found == first
    second = [(k, (await append_commits(writer, k, 1, s))[0]) for k, s in first]
    async for batch in following:
        found += batch
        if len(found) == 6:
            break
    assert found == first + second


async def test_what_is_erased_is_gone_and_the_rest_stays(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    other = Key("acme", new_session_id())
    large = user_commit("x" * 300_000)
    first = Stored(await one.log.append(key, large, 0), large)
    kept = Stored(await one.log.append(other, large, 0), large)
    second, last = await append_commits(one, key, 2, first)
    assert await two.log.erase(key, last.seq) == 3, "two commits and one body"
    assert await one.log.read(key, leader=True) == [last]
    assert await one.log.get(key, first.seq) is None
    assert await one.log.get(key, second.seq) is None
    assert await one.log.read(other) == [kept], "an equal body of another session"
    assert await two.log.erase(key, last.seq) == 0, "safe to repeat"
    (after,) = await append_commits(one, key, 1, last)
    assert await two.log.read(key, last.seq, leader=True) == [after]
    found: list[tuple[Key, Stored]] = []
    async for batch in two.log.follow(FIRST_CELL, first.seq - 1):
        found += batch
        if not batch:
            break
    assert [stored.seq for k, stored in found if k == key] == [last.seq, after.seq]
    assert [stored.seq for k, stored in found if k == other] == [kept.seq]
