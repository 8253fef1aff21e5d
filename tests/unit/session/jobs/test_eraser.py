"""When a deleted session is erased, and what may not hold that up. The bus is in memory, the times are given."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.commits import Stored
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.streams import SNAPSHOTS
from holdfast.session.jobs.eraser import PASS_AGES_US, Eraser
from holdfast.session.jobs.projector import project
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.testing.contracts.helpers import client_input
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.support.eventually import eventually

DELETED_AT = 1_000_000
CONFIG = ev.SessionConfig(
    id="cfg",
    tenant="acme",
    agent={"id": "agent_1", "version": 1, "name": "tester", "model": {"id": "scripted"}},
    environment_id="env_1",
    environment={"type": "cloud"},
    primary_thread="sthr_1",
)
NEWER_COMMIT = b'{"v":99,"id":"cmt_x","at":1,"by":"later","head":{},"events":[]}'


def service(server: MemoryServer, name: str = "session") -> SessionRepository:
    """A session service that knows of what it has done itself only; `known` tells it the rest."""
    model = ReadModel(None, [FIRST_CELL])
    return SessionRepository(MemoryBus(server, name), model, cells=[FIRST_CELL], now=lambda: DELETED_AT)


async def deleted(sessions: SessionRepository) -> tuple[Key, Stored]:
    """A session with something in each place, that was just deleted; and its tombstone."""
    key = Key("acme", new_session_id())
    made = await sessions.append(key, None, [CONFIG])
    await fill(sessions, key)
    return key, await sessions.append(key, made, [ev.SessionDeleted(id=new_id("sevt"))])


async def fill(sessions: SessionRepository, key: Key) -> None:
    await sessions.bus.inbox.put(key, client_input("x" * 300_000))
    await sessions.bus.kv.put(SNAPSHOTS, subjects.snapshot_key(key), b"{}")
    await sessions.bus.kv.put(SNAPSHOTS, subjects.snapshot_part_key(key, 0), b"{}")
    await sessions.bus.kv.put("parked", subjects.parked_key(key, "m0", 7), b"{}")


def left(server: MemoryServer, key: Key) -> dict[str, int]:
    """How much of the session the server has, by place; none for places that are empty."""
    found = {
        "commits": len(server.commits(key)),
        "bodies": len([body for body in server.blobs if body[0] == key]),
        "inputs": len([record for record in server.inbox.values() if record.key == key]),
        "snap": len([name for name in server.buckets[SNAPSHOTS] if key.session in name]),
        "parked": len([name for name in server.buckets["parked"] if key.session in name]),
    }
    return {name: count for name, count in found.items() if count}


async def test_a_session_is_erased_at_each_age_and_then_the_log_says_so() -> None:
    server = MemoryServer()
    sessions = service(server)
    key, tombstone = await deleted(sessions)
    at = tombstone.commit.head.deleted
    assert set(left(server, key)) == {"commits", "bodies", "inputs", "snap", "parked"}
    eraser = Eraser(sessions)
    for age in PASS_AGES_US[:-1]:
        assert await eraser.make_round(now=at + age) == 0
        assert left(server, key) == {"commits": 1}
        await fill(sessions, key)
        await eraser.make_round(now=at + age + 1)
        assert "snap" in left(server, key), "not due yet"
    assert await eraser.make_round(now=at + PASS_AGES_US[-1]) == 1
    assert left(server, key) == {"commits": 2}, "the tombstone, and that all is erased"
    last = await sessions.bus.log.head(key, leader=True)
    assert last is not None
    assert last.commit.head.erased
    assert sessions.read_model.queries.deleted() == []
    await fill(sessions, key)
    assert await eraser.make_round(now=at + 2 * PASS_AGES_US[-1]) == 0


async def test_a_new_process_begins_again_and_skips_what_is_over() -> None:
    server = MemoryServer()
    sessions = service(server)
    key, tombstone = await deleted(sessions)
    at = tombstone.commit.head.deleted
    await Eraser(sessions).make_round(now=at)
    await fill(sessions, key)
    await Eraser(sessions).make_round(now=at + 1)
    assert left(server, key) == {"commits": 1}
    assert await Eraser(sessions).make_round(now=at + PASS_AGES_US[-1]) == 1


async def test_a_session_that_another_replica_has_erased_is_done_with() -> None:
    server = MemoryServer()
    sessions, other = service(server), service(server, "other")
    key, tombstone = await deleted(sessions)
    other.read_model.projection.put(key, tombstone, None)
    now = tombstone.commit.head.deleted + PASS_AGES_US[-1]
    assert await Eraser(sessions).make_round(now=now) == 1
    assert await Eraser(other).make_round(now=now) == 1
    assert other.read_model.queries.deleted() == []
    assert left(server, key) == {"commits": 2}


async def test_two_replicas_that_erase_side_by_side_leave_nothing() -> None:
    server = MemoryServer()
    sessions, other = service(server), service(server, "other")
    key, tombstone = await deleted(sessions)
    other.read_model.projection.put(key, tombstone, None)
    now = tombstone.commit.head.deleted + PASS_AGES_US[-1]
    both = await asyncio.gather(Eraser(sessions).make_round(now=now), Eraser(other).make_round(now=now))
    assert sum(both) == 1, "the other one is refused"
    assert left(server, key) == {"commits": 2}


async def test_a_session_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    server = MemoryServer()
    sessions = service(server)
    newer, tombstone = await deleted(sessions)
    server.append(newer, NEWER_COMMIT, "cmt_x", tombstone.seq)
    key, _ = await deleted(sessions)
    await Eraser(sessions).make_round(now=tombstone.commit.head.deleted + 1000)
    assert left(server, key) == {"commits": 1}
    assert "snap" in left(server, newer), "a newer version will erase it"
    assert [one.key for one in sessions.read_model.queries.deleted()] == [newer, key]


async def test_nothing_is_erased_on_a_full_disk() -> None:
    """A file system without a free byte, as the server would answer no write any more after it failed to erase."""
    server = MemoryServer()
    sessions = service(server)
    key, tombstone = await deleted(sessions)
    at = tombstone.commit.head.deleted
    assert await Eraser(sessions, disk_folder="/proc").make_round(now=at) == 0
    assert "snap" in left(server, key)
    await Eraser(sessions, disk_folder="/").make_round(now=at)
    assert left(server, key) == {"commits": 1}


@contextlib.asynccontextmanager
async def running(sessions: SessionRepository) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(project(sessions)), asyncio.create_task(Eraser(sessions).run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("before", [True, False], ids=["before the start", "while it runs"])
async def test_a_deletion_is_noticed_at_once(before: bool) -> None:
    server = MemoryServer()
    sessions = service(server)
    deleted_before = await deleted(service(server, "dead")) if before else None
    async with running(sessions):
        key, _ = deleted_before or await deleted(sessions)

        async def look() -> bool:
            return left(server, key) == {"commits": 1}

        await eventually(look, within=10, what="erased")
