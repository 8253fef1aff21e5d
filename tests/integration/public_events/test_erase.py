"""A deleted session leaves nothing in the stream of public events but the event that says so (rules 29 and 30)."""

import asyncio
import contextlib
from pathlib import Path

import anthropic
import pytest

from holdfast.bus.ids import FIRST_CELL, Key
from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from holdfast.session.jobs.eraser import PASS_AGES_US, Eraser
from holdfast.session.jobs.projector import project
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from tests.support.created_sessions import MIB, create_session
from tests.support.disk_search import all_on_disk, found_on_disk, nothing_on_disk
from tests.support.edge import session_service
from tests.support.eventually import eventually
from tests.support.public_events import published
from tests.support.session_log import SessionLog

pytestmark = pytest.mark.timeout(120)

SMALL, LARGE, TITLE = ("canary-small-public", "canary-large-public", "canary-title-public")


async def fill(bus: NatsBus, session: str) -> None:
    log = SessionLog(bus, session)
    await log.says(SMALL)
    await log.says(LARGE + "x" * 300_000)
    await log.idle()


async def types_of(url: str, session: str) -> list[str]:
    return [one.headers["ce-type"] for one in await published(url) if one.headers["ce-subject"] == session]


@pytest.mark.parametrize("fault", ["", "session.deleted:kill", "session.log_erased:kill"])
async def test_a_deleted_session_leaves_no_byte_and_its_neighbour_all(tmp_path: Path, fault: str) -> None:
    environ = {"HOLDFAST_SESSION_DATA": str(tmp_path / "data"), "HOLDFAST_FAULT": fault}
    with session_service(tmp_path, environ, public_bytes=64 * MIB) as edge:
        name, neighbour = create_session(edge, TITLE), create_session(edge)
        async with edge.bus() as bus:
            await fill(bus, name)
            await SessionLog(bus, neighbour).says("the neighbour")
            with edge.client() as client:
                client.beta.sessions.update(name, metadata={"k": TITLE})

            async def both() -> bool:
                return len(await types_of(edge.nats.url, name)) >= 4 and bool(await types_of(edge.nats.url, neighbour))

            await eventually(both, what="published")
            await all_on_disk(tmp_path / "nats", [SMALL, LARGE, TITLE])
            with edge.client(max_retries=0) as client, contextlib.suppress(anthropic.APIConnectionError):
                client.beta.sessions.delete(name)
            if fault:
                await asyncio.to_thread(edge.wait)
                assert found_on_disk(tmp_path, [SMALL]), "it died too late for this test"
                edge.start_unarmed()
            await nothing_on_disk(tmp_path, [SMALL, LARGE, TITLE])

            async def told() -> bool:
                return await types_of(edge.nats.url, name) == ["session.deleted"]

            await eventually(told)
            assert await types_of(edge.nats.url, neighbour) == ["agent.message"]


async def erased_at_the_end(bus: NatsBus) -> int:
    """The last round of a session service beside the others; returns how many sessions are done with."""
    sessions = SessionRepository(bus, ReadModel(None, [FIRST_CELL]), cells=[FIRST_CELL], now=clock.now)
    following = asyncio.create_task(project(sessions))
    try:
        await asyncio.wait_for(sessions.read_model.tables.caught_up.wait(), 20)
        return await Eraser(sessions, public=bus.public).make_round(now=clock.now() + PASS_AGES_US[-1])
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        sessions.read_model.close()


async def test_a_session_is_not_done_with_before_its_tombstone_is_published(tmp_path: Path) -> None:
    """The publisher may have read its events before they were erased, and publish them afterwards."""
    with session_service(tmp_path) as edge:  # nobody publishes yet
        name = create_session(edge)
        async with edge.bus() as bus:
            await fill(bus, name)
            with edge.client() as client:
                client.beta.sessions.delete(name)
            edge.kill()
            await asyncio.to_thread(edge.nats.provision, HOLDFAST_PUBLIC_EVENTS_BYTES=str(64 * MIB))
            assert await erased_at_the_end(bus) == 0
            await asyncio.to_thread(edge.start)

            async def told() -> bool:
                return await types_of(edge.nats.url, name) == ["session.deleted"]

            await eventually(told)
            assert await erased_at_the_end(bus) == 1
            last = await bus.log.head(Key("default", name), leader=True)
            assert last
            assert last.commit.head.erased
            assert await types_of(edge.nats.url, name) == ["session.deleted"]


async def test_a_tombstone_that_a_full_stream_has_dropped_counts_as_published(tmp_path: Path) -> None:
    with session_service(tmp_path, public_bytes=1) as edge:
        name, other = create_session(edge), create_session(edge)
        async with edge.bus() as bus:
            with edge.client() as client:
                client.beta.sessions.delete(name)
            for _ in range(20):
                await SessionLog(bus, other).says("z" * MIB)

            async def dropped() -> bool:
                return len(await published(edge.nats.url)) > 10 and await types_of(edge.nats.url, name) == []

            await eventually(dropped)
            assert await erased_at_the_end(bus) == 1
