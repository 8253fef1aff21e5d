"""A session with a slow response: what its further inputs cost, and how an interrupt is noticed. In virtual time."""

import asyncio

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import ClientInput
from holdfast.testing.contracts.helpers import client_input
from tests.unit.harness.place import RESPONSE_S, Place, run


def test_inputs_of_a_driven_session_take_no_slot_and_are_all_taken_and_acked() -> None:
    async def main() -> tuple[float, list[str], list[str], int]:
        place = Place()
        slow, other = await place.session(), await place.session()
        inputs = [client_input(f"number {n}") for n in range(30)]
        for value in inputs:
            await place.bus.inbox.put(slow, value)
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        await place.bus.inbox.put(other, client_input("quick"))
        served = await place.idle_at(other) - began
        await place.idle_at(slow)
        await asyncio.sleep(200)
        sent = [e.id for value in inputs for e in value.events]
        taken = [e.id for e in await place.events(slow) if isinstance(e, ev.UserMessage)]
        left = len(await place.bus.inbox.pending(slow))
        await place.close()
        return served, sent, taken, left

    served, sent, taken, left = run(main)
    assert served < 5, "the other session did not wait for the slow response"
    assert (taken, left) == (sent, 0)


def test_the_inbox_is_not_polled_while_a_model_answers() -> None:
    async def main() -> int:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(1)
        before = place.faults.reads
        await asyncio.sleep(RESPONSE_S - 5)
        reads = place.faults.reads - before
        await place.idle_at(key)
        await place.close()
        return reads

    assert run(main) <= 7, "one each 15 s"


def test_an_interrupt_is_noticed_at_once_and_within_15_s_if_its_arrival_was_lost() -> None:
    async def main(*, deaf: bool) -> float:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(20)
        place.faults.deaf = deaf
        began = asyncio.get_running_loop().time()
        await place.bus.inbox.put(key, ClientInput(id="stop", events=[ev.UserInterrupt(id=new_id("sevt"))]))
        took = await place.idle_at(key) - began
        await place.close()
        return took

    assert run(lambda: main(deaf=False)) < 0.5
    assert 0.5 < run(lambda: main(deaf=True)) < 16


def test_an_arrival_that_shows_a_gap_makes_the_inbox_be_read_at_once() -> None:
    async def main() -> float:
        place = Place()
        key = await place.session()
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(20)
        began = asyncio.get_running_loop().time()
        place.faults.deaf = True
        await place.bus.inbox.put(key, ClientInput(id="stop", events=[ev.UserInterrupt(id=new_id("sevt"))]))
        place.faults.deaf = False
        await place.bus.inbox.put(key, client_input("quick"))
        took = await place.until(key, ev.UserInterrupt) - began
        await place.idle_at(key)
        await place.close()
        return took

    assert run(main) < 0.5
