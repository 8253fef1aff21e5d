"""First deliveries go to the replica that released their session last, as far as that is known."""

import asyncio

from holdfast.bus import subjects
from holdfast.bus.api import Delivery
from holdfast.bus.ids import FIRST_CELL, Key, new_session_id
from holdfast.bus.jetstream.passing_on import SPARE_HANDLERS, has_place
from holdfast.harness.turn.warm_replicas import WarmReplicas
from holdfast.testing.contracts.helpers import client_input, consuming
from holdfast.testing.eventually import eventually
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.unit.harness.place import Place, WatchedFaults, run

KEY = Key("acme", new_session_id())


async def test_a_replica_knows_who_released_a_session_last() -> None:
    server = MemoryServer()
    buses = [MemoryBus(server, name) for name in ("a", "b")]
    forgotten: list[Key] = []

    async def forget(key: Key) -> None:
        forgotten.append(key)

    a, b = (WarmReplicas(bus, bus_name, forget) for bus, bus_name in zip(buses, ("a", "b"), strict=True))
    for one in (a, b):
        await one.listen(FIRST_CELL)
    await a.announce(KEY)
    await eventually(lambda: _is(len(b) == 1), what="b has heard")
    assert len(a) == 0, "it drives its own sessions itself"
    assert forgotten == [KEY], "what b has kept of it is old"
    await b.announce(KEY)
    await eventually(lambda: _is(len(a) == 1), what="a has heard")
    assert len(b) == 0


class OrderOfEffects(WatchedFaults):
    """Notes what the harness publishes and appends, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    async def pause(self, process: str, operation: str) -> None:
        if process == "h" and operation in ("publish", "append"):
            self.operations.append(operation)
        await super().pause(process, operation)


def test_a_release_is_announced_before_it_is_appended() -> None:
    """Else the next input, sent by whoever has seen the release, is delivered to one that does not know of it."""

    async def main() -> list[str]:
        faults = OrderOfEffects()
        place = Place(faults=faults)
        key = await place.session()
        faults.operations.clear()
        await place.turn(key, "quick one")
        await place.close()
        return faults.operations

    assert run(main) == ["append", "publish", "append"], "the claim, the announcement, the response with the release"


async def test_only_a_first_delivery_is_passed_on_and_only_once() -> None:
    server = MemoryServer()
    one, two = MemoryBus(server, "one"), MemoryBus(server, "two")
    warm = WarmReplicas(one, "one", _ignore)
    await warm.listen(FIRST_CELL)
    passed: list[tuple[int, bool]] = []
    taken: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        passed.append((delivery.count, await warm.pass_on(delivery, load=0)))
        if not passed[-1][1]:
            await delivery.ack()

    async def take(delivery: Delivery) -> None:
        taken.append(delivery)
        assert not await warm.pass_on(delivery, load=0), "it was passed on already"
        await delivery.ack()

    stop = asyncio.Event()
    async with consuming(one, handle):
        await one.inbox.put(KEY, client_input())
        await eventually(lambda: _is(passed == [(1, False)]), what="handled here: nobody has announced the session")
        await two.core.publish(subjects.kept(KEY), b"two")
        await eventually(lambda: _is(len(warm) == 1), what="heard")
        await one.inbox.put(KEY, client_input())
        await eventually(lambda: _is(passed[1:] == [(1, False)]), what="handled here: nobody of that name takes any")
        assert len(warm) == 0
        await two.core.publish(subjects.kept(KEY), b"two")
        await eventually(lambda: _is(len(warm) == 1), what="heard")
        other = asyncio.create_task(two.inbox.consume(FIRST_CELL, take, stop, limit=1, name="two"))
        for _ in range(20):
            await one.inbox.put(KEY, client_input())
        await eventually(lambda: _nothing_waits(one), within=20, what="all acked")
    stop.set()
    await asyncio.wait_for(other, 20)
    assert any(d.passed_on for d in taken)


async def test_the_sessions_that_are_remembered_are_bounded() -> None:
    server = MemoryServer()
    bus = MemoryBus(server, "one")
    warm = WarmReplicas(bus, "one", _ignore, limit=10)
    await warm.listen(FIRST_CELL)
    keys = [Key("acme", new_session_id()) for _ in range(30)]
    for key in keys:
        await bus.core.publish(subjects.kept(key), b"two")
    await bus.core.publish(subjects.kept(keys[-1]), b"three")
    await eventually(lambda: _is(len(warm) == 10), what="the last ten")


def test_a_replica_refuses_what_would_leave_others_without_work() -> None:
    assert has_place(0, 0, 10)
    assert has_place(SPARE_HANDLERS - 1, 0, 10)
    assert not has_place(SPARE_HANDLERS, 0, 10)
    assert not has_place(9, 100, 9)
    assert has_place(120, 100, 1000)
    assert not has_place(130, 100, 1000)


async def _is(what: bool) -> bool:
    return what


async def _nothing_waits(bus: MemoryBus) -> bool:
    return not await bus.inbox.pending(KEY)


async def _ignore(_: Key) -> None:
    pass
