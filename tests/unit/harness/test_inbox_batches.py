"""What waits in one session is read in batches of bounded size, by one reader, and about once. In virtual time."""

import asyncio
from contextlib import aclosing

from holdfast.bus import events as ev
from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.inputs import NOTHING_TAKEN
from holdfast.harness.turn.inbox_batches import Batch, batches
from holdfast.harness.turn.one_at_a_time import OneAtATime
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.unit.harness.place import Place, run

INPUTS = 40
BODY_BYTES = 10_000
BATCH_BYTES = 35_000
"""Three inputs."""


async def read(bus: MemoryBus, key: Key, limit_bytes: int) -> list[Batch]:
    found = batches(bus.inbox, key, NOTHING_TAKEN, limit_bytes=limit_bytes)
    async with aclosing(found):
        return [batch async for batch in found]


def test_batches_follow_one_another_and_are_bounded() -> None:
    async def main() -> tuple[list[Batch], list[int], list[Batch], list[Batch]]:
        bus, key = MemoryBus(MemoryServer()), Key("acme", new_session_id())
        empty = await read(bus, key, BATCH_BYTES)
        seqs = [await bus.inbox.put(key, client_input("x" * BODY_BYTES)) for _ in range(7)]
        return await read(bus, key, BATCH_BYTES), seqs, await read(bus, key, 1), empty

    found, seqs, single, empty = run(main)
    assert [len(b.inputs) for b in found] == [3, 3, 1]
    assert [p.seq for b in found for p in b.inputs] == seqs
    assert [b.is_last for b in found] == [False, False, True]
    assert [len(b.inputs) for b in single] == [1] * 7, "one that is larger than the limit is alone"
    assert empty == [Batch([], is_last=True)]


def test_a_flood_before_the_claim_is_read_by_one_delivery_and_taken_in_bounded_commits() -> None:
    async def main() -> tuple[list[str], list[str], list[int], int, int, int]:
        place = Place(limit=100, batch_bytes=BATCH_BYTES)
        key = await place.session()
        inputs = [client_input("quick" + "x" * BODY_BYTES) for _ in range(INPUTS)]
        await asyncio.gather(*(place.bus.inbox.put(key, value) for value in inputs))
        await place.idle_at(key)
        await asyncio.sleep(200)
        commits = await place.bus.log.read(key)
        taken = [[e.id for e in s.commit.events if isinstance(e, ev.UserMessage)] for s in commits]
        left = len(await place.bus.inbox.pending(key))
        await place.close()
        sent = [e.id for value in inputs for e in value.events]
        decoded, requests = place.faults.decoded - left, len(place.model.requests)
        return sent, [e for ids in taken for e in ids], [len(ids) for ids in taken], decoded, requests, left

    sent, taken, sizes, decoded, requests, left = run(main)
    assert taken == sent
    assert max(sizes) <= 3
    assert requests <= 2, "the model is asked once all that waited is taken"
    assert left == 0
    assert decoded <= 4 * INPUTS, "it was INPUTS times INPUTS when each delivery read all that waits"


def test_what_is_left_to_wait_for_a_response_is_not_read_again_for_each_further_message() -> None:
    async def main() -> tuple[int, list[str], list[str]]:
        place = Place(limit=100)
        key = await place.session()
        await place.bus.inbox.put(key, client_input("slow"))
        await asyncio.sleep(1)
        inputs = [client_input("x" * 500_000) for _ in range(INPUTS)]  # nine are more than is kept of what was heard
        for value in inputs:
            await place.bus.inbox.put(key, value)
            await asyncio.sleep(0.5)
        decoded = place.faults.decoded
        await place.idle_at(key)
        taken = [e.id for e in await place.events(key) if isinstance(e, ev.UserMessage)][1:]
        await place.close()
        return decoded, [e.id for value in inputs for e in value.events], taken

    decoded, sent, taken = run(main)
    assert taken == sent
    assert decoded <= 3 * INPUTS, "heard once and read once"


def test_the_locks_of_sessions_exclude_one_another_and_are_forgotten() -> None:
    async def main() -> tuple[list[str], int]:
        locks, key, seen = OneAtATime(), Key("acme", new_session_id()), list[str]()

        async def work(name: str, at: Key) -> None:
            async with locks.session(at):
                seen.append(f"{name} begins")
                await asyncio.sleep(1)
                seen.append(f"{name} ends")

        other = Key("acme", new_session_id())
        cancelled = asyncio.create_task(work("cancelled", key))
        waiting = [asyncio.create_task(work("second", key)), asyncio.create_task(work("other", other))]
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await asyncio.gather(cancelled, *waiting, return_exceptions=True)
        return seen, len(locks)

    seen, count = run(main)
    assert seen == ["cancelled begins", "other begins", "second begins", "other ends", "second ends"]
    assert count == 0
