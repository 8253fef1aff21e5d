"""The bus over a cluster of three servers with three copies of everything, while its leader is killed."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus import events as ev
from holdfast.bus import streams, subjects
from holdfast.bus.commits import Stored, commit
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import connect
from holdfast.process.settings import ProcessSettings
from holdfast.testing.contracts.helpers import client_input, user_commit
from tests.support.cluster import nats_cluster, provisioned, urls
from tests.support.disk_search import found_on_disk
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[dict[str, NatsServer]]:
    async with nats_cluster(tmp_path) as servers:
        yield servers


async def is_true(value: bool) -> bool:
    return value


async def test_nothing_is_lost_or_done_twice_when_the_leader_dies(cluster: dict[str, NatsServer]) -> None:
    admin = await provisioned(cluster)
    bus = await connect(ProcessSettings(nats_url=urls(cluster)), name="writer")
    keys = [Key("acme", new_session_id()) for _ in range(3)]
    acknowledged: dict[Key, list[tuple[int, str]]] = {k: [] for k in keys}
    inputs: dict[Key, list[int]] = {k: [] for k in keys}
    tailed: list[int] = []
    stop = asyncio.Event()

    async def write(k: Key) -> None:
        last: Stored | None = None
        while not stop.is_set():
            message = ev.UserMessage(id=new_id("sevt"), content=[])
            made = commit(last, [message], by="test", new_id=new_id, now=time.time_ns() // 1000)
            last = Stored(await bus.log.append(k, made, last.seq if last else 0), made)
            acknowledged[k].append((last.seq, made.id))
            inputs[k].append(await bus.inbox.put(k, Nudge(id=new_id("ndg"))))

    async def read() -> None:
        async for stored in bus.log.tail(keys[0], 0):
            if stored:
                tailed.append(stored.seq)  # noqa: PERF401  looked at meanwhile

    tasks = [asyncio.create_task(write(k)) for k in keys]
    reading = asyncio.create_task(read())

    async def more(count: int) -> None:
        goal = min(map(len, acknowledged.values())) + count
        await eventually(lambda: is_true(min(map(len, acknowledged.values())) >= goal), within=60)

    await more(50)
    info = await admin.api(f"STREAM.INFO.{streams.log_stream()}")
    leader = cluster[info["cluster"]["leader"]]
    leader.kill()
    await more(50)
    await leader.start()
    await more(50)
    stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    for k in keys:
        assert [(s.seq, s.commit.id) for s in await bus.log.read(k, leader=True)] == acknowledged[k]
        assert [w.seq for w in await bus.inbox.pending(k, upto=inputs[k][-1])] == inputs[k]
    expected = [seq for seq, _ in acknowledged[keys[0]]]
    await eventually(lambda: is_true(tailed == expected), within=30)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    await admin.close()


async def test_what_is_erased_is_overwritten_on_all_three_servers(
    cluster: dict[str, NatsServer], tmp_path: Path
) -> None:
    """In the streams. The Raft logs of the servers hold it until these are compacted, as the README says."""
    admin = await provisioned(cluster)
    bus = await connect(ProcessSettings(nats_url=urls(cluster)), name="writer")
    deleted, neighbour = Key("acme", new_session_id()), Key("acme", new_session_id())
    places = ["log", "log-body", "inbox", "snapshot", "part", "parked"]
    canaries = [f"canary-{place}" for place in places]
    kept = user_commit("canary-of-the-neighbour")
    await bus.log.append(neighbour, kept, 0)
    first = user_commit("canary-log")
    large = user_commit("canary-log-body" + "x" * 300_000, Stored(1, first))
    seq = await bus.log.append(deleted, first, 0)
    seq = await bus.log.append(deleted, large, seq)
    last = user_commit("the last one stays", Stored(seq, large))
    seq = await bus.log.append(deleted, last, seq)
    await bus.inbox.put(deleted, client_input("canary-inbox"))
    await bus.kv.put("snap", subjects.snapshot_key(deleted), b"canary-snapshot")
    await bus.kv.put("snap", subjects.snapshot_part_key(deleted, 0), b"canary-part")
    await bus.kv.put("parked", subjects.parked_key(deleted, "epoch", 1), b"canary-parked")

    def on_disks(texts: list[str]) -> set[str]:
        """`server: text` for what is in the files of the streams of each server."""
        return {
            f"{name}: {line.rpartition(': ')[2]}"
            for name, server in cluster.items()
            for folder in (server.store / "js").glob("jetstream/*/streams")
            for line in found_on_disk(folder, texts)
        }

    everywhere = {f"{name}: {text}" for name in cluster for text in canaries}
    await eventually(lambda: is_true(on_disks(canaries) == everywhere), within=30)
    assert await bus.log.erase(deleted, seq) == 3
    assert await bus.inbox.erase(deleted) == 1
    assert await bus.kv.erase_all("snap", subjects.snapshot_key(deleted)) == 1
    assert await bus.kv.erase_all("snap", subjects.snapshot_part_keys(deleted)) == 1
    assert await bus.kv.erase_all("parked", subjects.parked_keys(deleted)) == 1
    await eventually(lambda: is_true(not on_disks(canaries)), within=30)
    assert on_disks(["canary-of-the-neighbour"]) == {f"{name}: canary-of-the-neighbour" for name in cluster}
    assert [stored.seq for stored in await bus.log.read(deleted, leader=True)] == [seq]
    assert [stored.commit.id for stored in await bus.log.read(neighbour, leader=True)] == [kept.id]
    await bus.close()
    await admin.close()
