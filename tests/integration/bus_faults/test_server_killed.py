"""The server is killed and started again: nothing acknowledged is lost, readers and consumers go on."""

import asyncio
import time
from pathlib import Path

from holdfast.bus.api import Delivery, Entry
from holdfast.bus.commits import Stored
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.settings import ProcessSettings
from tests.support.bus_faults import is_true, said
from tests.support.eventually import eventually
from tests.support.servers import NatsServer


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_in_the_middle(
    server: NatsServer, bus: NatsBus
) -> None:
    keys = [Key("acme", new_session_id()) for _ in range(4)]
    acknowledged: dict[Key, list[tuple[int, str]]] = {k: [] for k in keys}
    inputs: dict[Key, list[int]] = {k: [] for k in keys}
    stop = asyncio.Event()

    async def write(k: Key) -> None:
        last: Stored | None = None
        while not stop.is_set():
            made = said("x", last)
            last = Stored(await bus.log.append(k, made, last.seq if last else 0), made)
            acknowledged[k].append((last.seq, made.id))
            inputs[k].append(await bus.inbox.put(k, Nudge(id=new_id("ndg"))))

    writing = [asyncio.create_task(write(k)) for k in keys]
    for _ in range(2):
        before = sum(map(len, acknowledged.values()))
        await eventually(lambda b=before: is_true(sum(map(len, acknowledged.values())) > b + 200))
        server.kill()
        await server.start()
        before = sum(map(len, acknowledged.values()))
        await eventually(lambda b=before: is_true(sum(map(len, acknowledged.values())) > b + 200))
    stop.set()
    await asyncio.wait_for(asyncio.gather(*writing), 30)
    for k in keys:
        assert [(s.seq, s.commit.id) for s in await bus.log.read(k, leader=True)] == acknowledged[k]
        assert [w.seq for w in await bus.inbox.pending(k)] == inputs[k]


async def test_a_tail_is_whole_over_a_restart(  # noqa: C901
    server: NatsServer, bus: NatsBus, key: Key
) -> None:
    reader = await connect(ProcessSettings(nats_url=server.url), name="reader")
    found: list[int] = []
    heard: list[bytes] = []

    async def read() -> None:
        async for stored in reader.log.tail(key, 0):
            if stored:
                found.append(stored.seq)  # noqa: PERF401  looked at meanwhile

    async def watch() -> None:
        async for entry in reader.kv.watch("hands", "w.a0.>"):
            if entry and entry.value:
                heard.append(entry.value)  # noqa: PERF401

    tasks = [asyncio.create_task(read()), asyncio.create_task(watch())]
    last: Stored | None = None
    for number in range(300):
        if number in (100, 200):
            server.kill()
            await server.start()
        made = said("x", last)
        last = Stored(await bus.log.append(key, made, last.seq if last else 0), made)
        if number % 50 == 0:
            await bus.kv.put("hands", "w.a0.a", str(number).encode())
    assert last
    await eventually(lambda: is_true(found[-1:] == [last.seq]), within=15)
    await eventually(lambda: is_true(heard[-1:] == [b"250"]), within=15)
    assert found == [s.seq for s in await bus.log.read(key, leader=True)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await reader.close()


async def test_deliveries_go_on_over_a_restart_without_a_storm(server: NatsServer, bus: NatsBus, key: Key) -> None:
    counts: dict[int, int] = {}
    acked: set[int] = set()
    stop = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        counts[delivery.seq] = counts.get(delivery.seq, 0) + 1
        await delivery.ack()
        acked.add(delivery.seq)

    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8))
    seqs: list[int] = []
    for number in range(200):
        if number in (60, 120):
            server.kill()
            await server.start()
        seqs.append(await bus.inbox.put(key, Nudge(id=new_id("ndg"))))
    await eventually(lambda: is_true(acked == set(seqs)), within=20)
    assert max(counts.values()) <= 3
    assert await bus.inbox.pending(key) == []
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_watched_key_that_expired_while_the_server_was_away_is_told(server: NatsServer, bus: NatsBus) -> None:
    changes = bus.kv.watch("hands", "w.a0.>")
    assert await anext(changes) is None
    await bus.kv.put("hands", "w.a0.a", b"1", ttl=1)
    first, expired = await anext(changes), time.monotonic() + 1.2
    assert first
    assert first.value == b"1"
    server.kill()
    await eventually(lambda: is_true(time.monotonic() > expired))  # it expires while nobody is there to say so
    await server.start()
    gone: Entry | None = None
    compared = False  # with the bucket, after the reconnection
    async with asyncio.timeout(25):
        while gone is None or not compared:
            told = await anext(changes)
            gone, compared = gone or told, compared or told is None
    assert (gone.key, gone.value) == ("w.a0.a", None)


async def test_connecting_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    connecting = asyncio.create_task(connect(ProcessSettings(nats_url=server.url), name="early"))
    await server.start()
    try:
        made = await asyncio.wait_for(connecting, 10)
        assert made.connected
        await made.close()
    finally:
        server.kill()
