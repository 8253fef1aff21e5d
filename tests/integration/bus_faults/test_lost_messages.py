"""The network loses single messages of the bus: nothing is missing in the end, and each loss is counted by its kind."""

import asyncio
from contextlib import aclosing

from holdfast.bus.commits import Stored
from holdfast.bus.ids import Key
from holdfast.bus.inputs import NOTHING_TAKEN
from holdfast.bus.jetstream.client import NatsBus
from holdfast.harness.turn.inbox_watch import InboxWatch
from holdfast.process import metrics
from holdfast.testing.contracts.helpers import client_input
from tests.support.bus_faults import said
from tests.support.metered import Metered, metered
from tests.support.proxy import Proxy


def lost(found: Metered) -> dict[str, int]:
    return {labels[metrics.WHERE]: count for labels, count in found.points(metrics.LOST_MESSAGES)}


async def test_the_answer_to_an_append(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    with metered() as found:
        await far.log.append(key, said("zero"), 0)
        assert lost(found) == {}
        last = await bus.log.head(key)
        assert last is not None
        between.drop_answers = True
        appending = asyncio.create_task(far.log.append(key, said("one", last), last.seq))
        await asyncio.wait_for(between.dropped.wait(), 5)
        between.cut()
        await asyncio.wait_for(appending, 15)
        assert lost(found) == {"append": 1}


async def test_an_event_on_its_way_to_a_reader(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    with metered() as found:
        one = said("one")
        last = Stored(await bus.log.append(key, one, 0), one)
        async with aclosing(far.log.tail(key, 0)) as tail:
            assert [await anext(tail), await anext(tail)] == [None, last]
            between.drop_once = f"live.a0.{key.tenant}.{key.session}".encode()
            two = said("two", last)
            second = Stored(await bus.log.append(key, two, last.seq), two)
            await asyncio.wait_for(between.dropped.wait(), 5)
            three = said("three", second)
            third = Stored(await bus.log.append(key, three, second.seq), three)
            assert [await anext(tail), await anext(tail)] == [second, third]
            four = said("four", third)
            fourth = Stored(await bus.log.append(key, four, third.seq), four)
            assert await anext(tail) == fourth
        assert lost(found) == {"live": 1}


async def test_an_event_on_its_way_to_the_read_model(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    with metered() as found:
        one = said("one")
        last = Stored(await bus.log.append(key, one, 0), one)
        async with aclosing(far.log.follow(key.cell, last.seq)) as batches:
            assert await anext(batches) == []
            between.drop_once = f"live.a0.{key.tenant}.{key.session}".encode()
            two = said("two", last)
            second = Stored(await bus.log.append(key, two, last.seq), two)
            await asyncio.wait_for(between.dropped.wait(), 5)
            three = said("three", second)
            third = Stored(await bus.log.append(key, three, second.seq), three)
            heard: list[Stored] = []
            while len(heard) < 2:
                heard += [stored for _, stored in await asyncio.wait_for(anext(batches), 10)]
            assert heard == [second, third]
        assert lost(found) == {"live": 1}


async def test_the_arrival_of_an_input(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    with metered() as found:
        watch = InboxWatch()
        await watch.open(far, key)
        assert await far.answers(), "the server has the subscription now"
        watch.expect_from(NOTHING_TAKEN)
        await bus.inbox.put(key, client_input("one"))
        await asyncio.wait_for(watch.arrived.wait(), 5)
        between.drop_once = f"arrived.in.a0.{key.tenant}.{key.session}".encode()
        await bus.inbox.put(key, client_input("two"))
        await asyncio.wait_for(between.dropped.wait(), 5)
        assert not watch.gap.is_set()
        await bus.inbox.put(key, client_input("three"))
        await asyncio.wait_for(watch.gap.wait(), 5)
        assert lost(found) == {"arrival": 1}
        await watch.close()
