"""Session services and nats-server are killed and frozen at random while public events are published and read.

The invariants: each event that the log shows is in the stream once, in the order of the log, and a reader that fetched
beside it has been given each of them; a session that was deleted meanwhile has left nothing but its tombstone.
"""

import asyncio
import contextlib
import random
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig

from tests.support.created_sessions import MIB, create_session
from tests.support.disk_search import nothing_on_disk
from tests.support.edge import SessionService, replica, session_service
from tests.support.public_events import all_published
from tests.support.session_log import SessionLog

pytestmark = pytest.mark.timeout(240)

ROUNDS = 8
CANARY = "canary-of-the-session-that-is-deleted"


async def write(log: SessionLog, text: str, pause_s: float, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        await log.says(f"{text} {number}")
        number += 1
        await asyncio.sleep(random.uniform(0, pause_s))


async def read(url: str, stop: asyncio.Event, seen: dict[int, str]) -> None:
    """Fetch and acknowledge until `stop` is set and nothing is left; keeps the ids by the sequence in the stream."""
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    try:
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, ack_wait=2)
        pull = await client.jetstream().pull_subscribe("pub.>", durable="beside", stream="PUB_a0", config=config)
        while True:
            try:
                got = await pull.fetch(50, timeout=1)
            except (NatsError, TimeoutError):
                if stop.is_set():
                    return
                await asyncio.sleep(0.1)
                continue
            for one in got:
                assert one.headers
                assert seen.setdefault(one.metadata.sequence.stream, one.headers["ce-id"]) == one.headers["ce-id"]
                with contextlib.suppress(NatsError):
                    await one.ack()
    finally:
        await client.close()


async def fault(services: list[SessionService], chance: random.Random) -> str:
    """One of the faults; returns when everything is up again."""
    kind = chance.choice(["kill", "kill", "freeze", "nats"])
    victim = chance.choice(services)
    if kind == "nats":
        victim.nats.kill()
        await asyncio.sleep(chance.uniform(0, 0.5))
        await victim.nats.start()
    elif kind == "kill":
        victim.kill()
        await asyncio.sleep(chance.uniform(0, 2))
        await asyncio.to_thread(victim.start)
    else:
        victim.freeze()
        await asyncio.sleep(chance.uniform(1, 4))
        victim.thaw()
    return kind


@pytest.mark.parametrize("seed", range(2))
async def test_every_event_is_published_once_and_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    environ = {"HOLDFAST_SESSION_DATA": str(tmp_path / "data")}
    (tmp_path / "second").mkdir()
    with (
        session_service(tmp_path, environ, public_bytes=256 * MIB) as edge,
        replica(edge, tmp_path / "second") as second,
    ):
        names = [create_session(edge) for _ in range(4)]
        async with edge.bus() as bus:
            stop, read_all = asyncio.Event(), asyncio.Event()
            writers = [asyncio.create_task(write(SessionLog(bus, name), "kept", 0.02, stop)) for name in names[1:]]
            gone = (
                asyncio.Event()
            )  # it has few events: erasing one takes up to 20 ms, and a session service has a budget
            deleted = asyncio.create_task(write(SessionLog(bus, names[0]), CANARY, 0.5, gone))
            seen: dict[int, str] = {}
            reader = asyncio.create_task(read(edge.nats.url, read_all, seen))
            kinds: list[str] = []
            for number in range(ROUNDS):
                await asyncio.sleep(chance.uniform(0.1, 1.5))
                kinds.append(await fault([edge, second], chance))
                if number == ROUNDS // 2:
                    gone.set()
                    await deleted
                    with edge.client() as client:
                        client.beta.sessions.delete(names[0])
            stop.set()
            await asyncio.gather(*writers)
            found = await all_published(bus, edge.nats.url, within=60)
            read_all.set()
            await reader
            of_deleted = [one.headers["ce-type"] for one in found if one.headers["ce-subject"] == names[0]]
            assert of_deleted == ["session.deleted"], kinds
            missed = {one.id for one in found} - set(seen.values())
            assert not missed, f"the reader beside it missed {len(missed)} of {len(found)} events; faults: {kinds}"
            assert len(set(seen.values())) == len(seen), f"an event came at two sequences; faults: {kinds}"
            assert len({one.headers["Holdfast-Publisher"] for one in found}) > 1, kinds
            await nothing_on_disk(tmp_path / "nats", [CANARY])
