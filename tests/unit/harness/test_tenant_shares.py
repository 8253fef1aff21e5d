"""One tenant with many sessions, and another with one: how long the one waits. In virtual time."""

import asyncio
import itertools
from typing import Any

import pytest

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import ClientInput
from holdfast.harness.turn.tenant_shares import LONGEST_DELAY_S, REFUSALS_PER_S, SHORTEST_DELAY_S, TenantShares
from holdfast.testing.contracts.helpers import client_input
from tests.unit.harness.place import RESPONSE_S, Place, run

PLACES = 4
SESSIONS = 16
"""Of the busy tenant: four times what the replica drives at once."""


async def waits(tenant_sessions: int) -> tuple[float, float]:
    """Seconds until the one message of the calm tenant is answered, and until the busy one is served as a whole."""
    place = Place(limit=PLACES, tenant_sessions=tenant_sessions)
    busy = [await place.session("busy") for _ in range(SESSIONS)]
    calm = await place.session("calm")
    loop = asyncio.get_running_loop()
    began = loop.time()
    for key in busy:
        await place.bus.inbox.put(key, client_input())
    await asyncio.sleep(1)
    asked = loop.time()
    await place.bus.inbox.put(calm, client_input("quick"))
    answered = await place.idle_at(calm) - asked
    ends = [await place.idle_at(key) - began for key in busy]
    await place.close()
    return answered, max(ends)


def test_one_tenant_does_not_keep_another_waiting() -> None:
    without: Any = run(lambda: waits(0))
    shared: Any = run(lambda: waits(PLACES - 1))
    assert without[0] > RESPONSE_S, "the fault: the message waits for whole rounds of the other tenant"
    assert shared[0] < 1
    rounds = -(-SESSIONS // (PLACES - 1))
    assert shared[1] < rounds * (RESPONSE_S + LONGEST_DELAY_S), (
        "and the busy one goes on, with no place left empty long"
    )
    print(f"answered after {without[0]:.1f} s without a share, {shared[0]:.2f} s with one")  # noqa: T201


def test_what_is_said_to_a_running_session_takes_no_place() -> None:
    async def main() -> float:
        place = Place(limit=PLACES, tenant_sessions=1)
        key = await place.session("busy")
        await place.bus.inbox.put(key, client_input())
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        await place.bus.inbox.put(key, ClientInput(id="stop", events=[ev.UserInterrupt(id=new_id("sevt"))]))
        took = await place.idle_at(key) - began
        await place.close()
        return took

    assert run(main) < 1


def test_every_input_is_taken_once_and_in_order() -> None:
    async def main() -> tuple[list[list[str]], list[list[str]], int]:
        place = Place(limit=PLACES, tenant_sessions=1)
        keys = [await place.session("busy") for _ in range(4)]
        inputs = {key: [client_input(f"quick {n}") for n in range(5)] for key in keys}
        for number, key in itertools.product(range(5), keys):
            await place.bus.inbox.put(key, inputs[key][number])
        await asyncio.sleep(100)
        sent = [[event.id for one in inputs[key] for event in one.events] for key in keys]
        taken = [[e.id for e in await place.events(key) if isinstance(e, ev.UserMessage)] for key in keys]
        left = sum([len(await place.bus.inbox.pending(key)) for key in keys])
        await place.close()
        return sent, taken, left

    sent, taken, left = run(main)
    assert (taken, left) == (sent, 0)


def test_places_are_counted_by_tenant_and_given_back() -> None:
    shares = TenantShares(2)
    assert [shares.enter("a") for _ in range(3)] == [True, True, False]
    assert shares.enter("b")
    shares.leave("a")
    assert shares.enter("a")
    unlimited = TenantShares(0)
    assert all(unlimited.enter("a") for _ in range(1000))


def test_refused_deliveries_come_back_one_behind_the_other_and_not_too_late() -> None:
    shares = TenantShares(1)
    shares.enter("a")
    delays = [shares.delay_s("a", 10.0) for _ in range(10_000)]
    assert delays[0] == SHORTEST_DELAY_S
    assert delays[100] == pytest.approx(SHORTEST_DELAY_S + 100 / REFUSALS_PER_S)
    assert delays[-1] == LONGEST_DELAY_S
    assert shares.delay_s("b", 10.0) == SHORTEST_DELAY_S
    assert shares.delay_s("a", 1000.0) == SHORTEST_DELAY_S, "later nothing of that counts"
