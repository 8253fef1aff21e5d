"""The inbox: what every bus must do with inputs, deliveries, acks and redelivery."""

import asyncio

import pytest

from holdfast.bus import streams
from holdfast.bus.api import Bus, Delivery
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import CallResult, Nudge, PendingInput, Taken, taken_after
from holdfast.testing.contracts.helpers import Connect, client_input, consuming, result
from holdfast.testing.eventually import eventually


async def test_an_input_waits_until_it_is_acked(bus: Bus, key: Key) -> None:
    values = [client_input("one"), Nudge(id=new_id("ndg")), client_input("three")]
    seqs = [await bus.inbox.put(key, value) for value in values]
    assert seqs == sorted(set(seqs))
    assert await bus.inbox.put(key, values[0]) == seqs[0], "the same id is stored once"
    waiting = await bus.inbox.pending(key)
    assert [(w.seq, w.input) for w in waiting] == list(zip(seqs, values, strict=True))
    assert [one async for one in bus.inbox.waiting(key)] == waiting
    assert [one async for one in bus.inbox.waiting(key, Taken(inputs=seqs[1]))] == waiting[2:]
    assert [w.seq for w in await bus.inbox.pending(key, Taken(inputs=seqs[0]), upto=seqs[2])] == seqs[1:]
    assert await bus.inbox.pending(key, Taken(inputs=seqs[2])) == []
    assert await bus.inbox.pending(Key("acme", new_session_id())) == []


async def test_an_inbox_that_is_erased_is_empty_and_nothing_of_it_is_delivered_again(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    other = Key("acme", new_session_id())
    got: asyncio.Queue[Key] = asyncio.Queue()

    async def leave(delivery: Delivery) -> None:
        got.put_nowait(delivery.key)
        await delivery.nak(0.2)

    for value in (client_input("waits"), client_input("x" * 300_000), result()):
        await one.inbox.put(key, value)
    async with consuming(one, leave):
        for _ in range(3):
            assert await asyncio.wait_for(got.get(), 5) == key
        assert await two.inbox.erase(key) == 3
        assert await one.inbox.pending(key) == []
        assert await two.inbox.erase(key) == 0, "safe to repeat"
        while not got.empty():
            got.get_nowait()
        await one.inbox.put(other, client_input())
        for _ in range(3):  # what is behind it comes again and again, what was erased does not
            assert await asyncio.wait_for(got.get(), 5) == other
    assert await two.inbox.erase(other) == 1


async def test_the_stream_epoch_stays(joined: Connect) -> None:
    one, two = await joined("one"), await joined("two")
    assert await one.inbox.stream_epoch(FIRST_CELL) == await two.inbox.stream_epoch(FIRST_CELL) != ""


async def test_the_ack_removes(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    got: asyncio.Queue[tuple[Key, str, int, int]] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        await delivery.ack()  # again does no harm
        got.put_nowait((delivery.key, delivery.source, delivery.seq, delivery.count))

    async with consuming(one, handle):
        seq = await two.inbox.put(key, client_input())
        assert await asyncio.wait_for(got.get(), 5) == (key, "in", seq, 1)
        seq = await two.inbox.put(key, result())
        assert await asyncio.wait_for(got.get(), 5) == (key, "res", seq, 1)
        assert await two.inbox.pending(key) == []


async def test_an_input_is_delivered_again_after_ack_wait_and_a_beat_holds_it_off(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    times: list[tuple[str, int, float]] = []
    dropped, release = asyncio.Event(), asyncio.Event()

    async def drop(delivery: Delivery) -> None:
        times.append(("one", delivery.count, asyncio.get_running_loop().time()))
        dropped.set()  # returns without an ack: as a process that died

    async def hold(delivery: Delivery) -> None:
        times.append(("two", delivery.count, asyncio.get_running_loop().time()))
        await release.wait()
        await delivery.ack()

    async with consuming(one, drop):
        await one.inbox.put(key, client_input())
        await asyncio.wait_for(dropped.wait(), 5)
    async with consuming(two, hold):
        await eventually(lambda: _is(len(times) > 1), within=5)
        assert [t[:2] for t in times] == [("one", 1), ("two", 2)]
        assert streams.ACK_WAIT_S - 0.05 <= times[1][2] - times[0][2] < streams.ACK_WAIT_S + 1
        with pytest.raises(AssertionError):  # nothing comes while the handler runs, for longer than ack_wait
            await eventually(lambda: _is(len(times) > 2), within=streams.ACK_WAIT_S * 2)
        release.set()
    assert await one.inbox.pending(key) == []


async def _is(value: bool) -> bool:
    return value


async def test_a_nak_brings_it_again_after_its_delay(bus: Bus, key: Key) -> None:
    times: list[float] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        times.append(asyncio.get_running_loop().time())
        match delivery.count:
            case 1:
                await delivery.nak()
            case 2:
                await delivery.nak(2.0)
            case _:
                await delivery.ack()
                done.set()

    async with consuming(bus, handle):
        await bus.inbox.put(key, client_input())
        await asyncio.wait_for(done.wait(), 10)
    assert times[1] - times[0] < 1
    assert 1.9 < times[2] - times[1] < 3, "longer than ack_wait"


async def test_another_process_has_it_delivered_again_in_the_place_of_a_dead_holder(joined: Connect, key: Key) -> None:
    one, two, edge = await joined("one"), await joined("two"), await joined("edge")
    counts: list[tuple[str, int]] = []
    numbers: list[int] = []
    release = asyncio.Event()

    async def hold(delivery: Delivery) -> None:
        counts.append(("one", delivery.count))
        numbers.append(delivery.number)
        await release.wait()

    async def take(delivery: Delivery) -> None:
        counts.append(("two", delivery.count))
        if delivery.count == 3:
            await delivery.ack()
            release.set()
        await release.wait()

    stop = asyncio.Event()
    holding = asyncio.create_task(one.inbox.consume(FIRST_CELL, hold, stop, limit=1))
    seq = await edge.inbox.put(key, client_input())
    await eventually(lambda: _is(len(counts) == 1), within=5)
    async with consuming(two, take):
        await edge.inbox.redeliver(FIRST_CELL, seq, numbers[0])
        await eventually(lambda: _is(len(counts) == 2), within=5)
        await edge.inbox.redeliver(FIRST_CELL, seq, numbers[0])  # late: it takes the input from its new holder
        await eventually(lambda: _is(len(counts) == 3), within=5)
        assert counts == [("one", 1), ("two", 2), ("two", 3)]
        await edge.inbox.redeliver(FIRST_CELL, seq, numbers[0])  # acked: there is nothing to deliver
        stop.set()
        await asyncio.wait_for(holding, 5)
    assert await edge.inbox.pending(key) == []
    assert len(counts) == 3


async def test_no_more_than_the_limit_at_once_and_all_in_the_end(bus: Bus, key: Key) -> None:
    now = most = done = 0
    full = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        if now == 3:
            full.set()
        await full.wait()
        now -= 1
        await delivery.ack()
        done += 1

    seqs = [await bus.inbox.put(key, Nudge(id=new_id("ndg"))) for _ in range(20)]
    async with consuming(bus, handle, limit=3):
        await eventually(lambda: _is(done == len(seqs)), within=10)
    assert most == 3
    assert await bus.inbox.pending(key) == []


async def test_a_failed_handler_leaves_its_delivery_to_another(joined: Connect, key: Key) -> None:
    bus = await joined("one")
    counts: list[int] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        counts.append(delivery.count)
        if delivery.count == 1:
            raise RuntimeError("as a bug would")
        await delivery.ack()
        done.set()

    async with consuming(bus, handle):
        await bus.inbox.put(key, client_input())
        await asyncio.wait_for(done.wait(), 5)
    assert counts == [1, 2]


async def test_stopping_waits_for_what_is_in_hand_and_takes_nothing_more(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    held, release, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    counts: list[int] = []

    async def hold(delivery: Delivery) -> None:
        held.set()
        await release.wait()
        await delivery.ack()

    async def take(delivery: Delivery) -> None:
        counts.append(delivery.count)
        await delivery.ack()

    task = asyncio.create_task(one.inbox.consume(FIRST_CELL, hold, stop, limit=5))
    await one.inbox.put(key, client_input("in hand"))
    await asyncio.wait_for(held.wait(), 5)
    stop.set()
    async with consuming(two, take):
        await two.inbox.put(key, client_input("for the other"))
        await eventually(lambda: _is(len(counts) == 1), within=1)
        assert not task.done(), "it waits for its handler"
        release.set()
        await asyncio.wait_for(task, 5)
    assert await two.inbox.pending(key) == []


def _no_gap() -> None:
    raise AssertionError("the connection was not lost")


async def test_arrivals_are_heard(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    heard: asyncio.Queue[PendingInput] = asyncio.Queue()
    listening = await one.inbox.on_arrival(key, heard.put_nowait, _no_gap)
    assert await one.inbox.pending(key) == []  # the server has seen the subscription
    before = 0
    for given in (client_input(), client_input("z" * 300_000), client_input()):
        await two.inbox.put(Key(key.tenant, new_session_id()), client_input("to another session"))
        seq = await two.inbox.put(key, given)
        arrived = await asyncio.wait_for(heard.get(), 5)
        assert (arrived.seq, arrived.input, arrived.previous) == (seq, given, before)
        before = seq
    await listening.close()


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_large_input_travels_by_the_object_store(bus: Bus, key: Key, size: int) -> None:
    value = CallResult(id=new_id("sevt"), generation="g", content=[{"type": "text", "text": "r" * size}])
    seq = await bus.inbox.put(key, value)
    assert [(w.seq, w.input) for w in await bus.inbox.pending(key)] == [(seq, value)]


async def test_results_have_a_position_of_their_own(joined: Connect, key: Key) -> None:
    """Reads keep the order of the stream; each source is taken by itself, and its arrivals name one another."""
    one, two = await joined("one"), await joined("two")
    heard: asyncio.Queue[PendingInput] = asyncio.Queue()
    listening = await one.inbox.on_arrival(key, heard.put_nowait, _no_gap)
    assert await one.inbox.pending(key) == []
    values = [client_input("a"), result("c1"), result("c2"), client_input("b")]
    seqs = [await two.inbox.put(key, value) for value in values]
    waiting = await one.inbox.pending(key)
    sources = ["in", "res", "res", "in"]
    assert [(w.seq, w.source, w.input) for w in waiting] == list(zip(seqs, sources, values, strict=True))
    assert taken_after(Taken(), waiting) == Taken(inputs=seqs[3], results=seqs[2])
    taken = Taken(inputs=seqs[3], results=seqs[1])
    assert [w.seq for w in await one.inbox.pending(key, taken)] == [seqs[2]]
    arrived = [await asyncio.wait_for(heard.get(), 5) for _ in seqs]
    named = {w.seq: (w.source, w.previous) for w in arrived}
    assert named == {seqs[0]: ("in", 0), seqs[1]: ("res", 0), seqs[2]: ("res", seqs[1]), seqs[3]: ("in", seqs[0])}
    await listening.close()


async def test_deliveries_that_are_passed_on_are_handled_by_the_other(joined: Connect, key: Key) -> None:
    """Their acks count, as if they had been delivered there. Nobody there, or no place there: the caller is told."""
    one, two = await joined("one"), await joined("two")
    answers: list[bool] = []
    taken: list[Delivery] = []

    async def pass_on(delivery: Delivery) -> None:
        assert not delivery.passed_on
        answers.append(await one.inbox.pass_on(delivery, "the-other", load=0))
        if not answers[-1]:
            await delivery.nak(0.1)

    async def take(delivery: Delivery) -> None:
        taken.append(delivery)
        await delivery.ack()

    async def nothing_waits() -> bool:
        return not await one.inbox.pending(key)

    async def was_refused() -> bool:
        return bool(answers)

    stop = asyncio.Event()
    async with consuming(one, pass_on):
        seqs = [await one.inbox.put(key, client_input())]
        await eventually(was_refused, what="an answer")
        assert not any(answers), "nobody is there"
        other = asyncio.create_task(two.inbox.consume(FIRST_CELL, take, stop, limit=2, name="the-other"))
        seqs += [await one.inbox.put(key, client_input()) for _ in range(40)]
        await eventually(nothing_waits, within=20, what="all acked by the other")
    stop.set()
    await asyncio.wait_for(other, 20)
    assert {d.seq for d in taken} == set(seqs)
    assert {d.key for d in taken} == {key}
    assert any(d.passed_on and d.count == 1 for d in taken)
    assert any(answers)
