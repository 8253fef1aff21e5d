"""What a delete leaves in streams, buckets and files: nothing (rule 29). The session service is killed in between.

There is no harness: the test writes the log, the snapshot and the parked input that one would.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

import anthropic
import pytest

from holdfast.bus import events as ev
from holdfast.bus import subjects
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.parked import PARKED, ParkedInput, encode_parked
from holdfast.process import clock
from holdfast.session.jobs.eraser import PASS_AGES_US, Eraser
from holdfast.session.jobs.projector import project
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from holdfast.testing.contracts.helpers import client_input
from tests.support.disk_search import all_on_disk, found_on_disk, nothing_on_disk
from tests.support.edge import SessionService, session_service
from tests.support.session_log import SessionLog

LARGE_CHARS = 300_000
"""Characters that do not fit a message."""

PLACES = ("title", "log", "log-body", "inbox", "inbox-body", "snapshot", "parked")


def canary(place: str) -> str:
    return f"canary-{place}-of-a-deleted-session"


def canaries(*places: str) -> list[str]:
    return [canary(place) for place in places or PLACES]


def large(text: str) -> str:
    return text + " " + "x" * LARGE_CHARS


async def fill(bus: NatsBus, log: SessionLog) -> None:
    """Put a canary into each place that a session has, but its title."""
    key = log.key
    await log.says(canary("log"))
    await log.says(large(canary("log-body")))
    await bus.kv.put("snap", subjects.snapshot_key(key), canary("snapshot").encode())
    epoch = await bus.inbox.stream_epoch(key.cell)
    parked = ParkedInput(
        tenant=key.tenant,
        session=key.session,
        source="in",
        seq=1,
        inbox=epoch,
        parked_at=1,
        reason=canary("parked"),
        data=b"{}",
    )
    await bus.kv.put(PARKED, parked.name, encode_parked(parked))
    await fill_inbox(bus, log)


async def fill_inbox(bus: NatsBus, log: SessionLog) -> None:
    await bus.inbox.put(log.key, client_input(canary("inbox")))
    await bus.inbox.put(log.key, client_input(large(canary("inbox-body"))))


def create(edge: SessionService, title: str = "") -> str:
    with edge.client() as client:
        agent = client.beta.agents.create(model="m", name=new_id("a")).id
        environment = client.beta.environments.create(name=new_id("e")).id
        return client.beta.sessions.create(agent=agent, environment_id=environment, title=title or None).id


async def one_round(bus: NatsBus, *, ahead_us: int = 0) -> int:
    """A round of another session service, as it will be in `ahead_us` microseconds."""
    sessions = SessionRepository(bus, ReadModel(None, [FIRST_CELL]), cells=[FIRST_CELL], now=clock.now)
    following = asyncio.create_task(project(sessions))
    try:
        await asyncio.wait_for(sessions.read_model.tables.caught_up.wait(), 20)
        return await Eraser(sessions).make_round(now=clock.now() + ahead_us)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        sessions.read_model.close()


@contextlib.asynccontextmanager
async def filled(edge: SessionService, folder: Path) -> AsyncGenerator[tuple[NatsBus, SessionLog]]:
    """A session with a canary in each place, of which every one is on the disk."""
    session = create(edge, canary("title"))
    async with edge.bus() as bus:
        log = SessionLog(bus, session)
        await fill(bus, log)
        await all_on_disk(folder, canaries())
        yield bus, log


async def test_a_deleted_session_leaves_no_byte_on_the_disk_and_its_neighbour_all(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(tmp_path / "data")}) as edge:
        neighbour = create(edge, "the title of the neighbour")
        async with filled(edge, tmp_path) as (bus, log):
            beside = SessionLog(bus, neighbour)
            await beside.says(large("the same body"))
            await log.says(large("the same body"))
            with edge.client() as client:
                client.beta.sessions.delete(log.key.session)
            await nothing_on_disk(tmp_path, canaries())
            assert len(await bus.log.read(log.key, leader=True)) == 1
            shown = [e for s in await bus.log.read(beside.key) for e in s.commit.events]
            assert any("the same body" in str(e) for e in shown), "a body that only looks the same"
            with edge.client() as client:
                assert client.beta.sessions.retrieve(neighbour).title == "the title of the neighbour"


@pytest.mark.parametrize("point", ["session.deleted", "session.log_erased"])
async def test_a_service_that_dies_meanwhile_goes_on_when_it_is_back(tmp_path: Path, point: str) -> None:
    environ = {"HOLDFAST_SESSION_DATA": str(tmp_path / "data"), "HOLDFAST_FAULT": f"{point}:kill"}
    with session_service(tmp_path, environ) as edge:
        async with filled(edge, tmp_path) as (bus, log):
            with edge.client(max_retries=0) as client, contextlib.suppress(anthropic.APIConnectionError):
                client.beta.sessions.delete(log.key.session)
            await asyncio.to_thread(edge.wait)
            last = await bus.log.head(log.key, leader=True)
            assert last is not None
            assert last.commit.head.deleted
            assert found_on_disk(tmp_path, canaries()), "it died too late for this test"
            edge.start_unarmed()
            await nothing_on_disk(tmp_path, canaries())


async def test_what_is_written_beside_the_delete_is_erased_later_and_then_the_log_says_so(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(tmp_path / "data")}) as edge:
        async with filled(edge, tmp_path) as (bus, log):
            with edge.client() as client:
                client.beta.sessions.delete(log.key.session)
            await nothing_on_disk(tmp_path, canaries())
            late = [canary("inbox"), canary("inbox-body"), canary("snapshot")]
            await fill_inbox(bus, log)
            await bus.kv.put("snap", subjects.snapshot_key(log.key), canary("snapshot").encode())
            assert await one_round(bus, ahead_us=PASS_AGES_US[-1]) == 1
            assert found_on_disk(tmp_path / "nats", late) == []
            last = await bus.log.head(log.key, leader=True)
            assert last is not None
            assert last.commit.head.erased
            assert [type(e) for e in last.commit.events] == [ev.SessionErased]
            assert await one_round(bus, ahead_us=PASS_AGES_US[-1]) == 0, "there is nothing left to do"


async def test_a_session_that_was_never_completed_is_erased_too(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge:
        session = create(edge, canary("title"))
        async with edge.bus() as bus:
            log = SessionLog(bus, session)
            await log.write(ev.SessionDeleted(id=new_id("sevt")))  # as a replica that died after its sweeper did that
            await one_round(bus)
            assert found_on_disk(tmp_path, canaries("title")) == []
