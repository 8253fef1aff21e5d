"""The projector and the sweeper: a lost read model, an incomplete creation, a stale claim."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import pytest

from holdfast.bus.ids import FIRST_CELL, Key
from holdfast.bus.jetstream.client import NatsBus
from holdfast.process import clock
from holdfast.session.jobs.projector import project
from holdfast.session.jobs.sweeper import sweep_once
from holdfast.session.log.readmodel import ReadModel
from holdfast.session.log.repository import SessionRepository
from tests.support.edge import session_service
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY


async def test_the_read_model_may_be_deleted_or_broken_at_any_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(data)}) as own:
        with own.client() as client:
            agent = client.beta.agents.create(model="m", name="a").id
            environment = client.beta.environments.create(name="e").id
            ids = [client.beta.sessions.create(agent=agent, environment_id=environment).id for _ in range(5)]
            listed = [s.to_dict() for s in client.beta.sessions.list(order="asc")]
            assert [s["id"] for s in listed] == ids
        for harm in ("killed", "deleted", "broken"):
            own.kill()
            for file in data.iterdir() if harm != "killed" else ():
                if harm == "deleted":
                    file.unlink()
                else:
                    file.write_bytes(b"\0\1" * 2000)
            own.start()
            with own.client() as client:
                again = [s.to_dict() for s in client.beta.sessions.list(order="asc")]
            for old, new in zip(listed, again, strict=True):
                assert {**old, "stats": 0} == {**new, "stats": 0}


async def test_an_incomplete_creation_is_never_listed_and_is_undone(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_FAULT": "session.created:kill:2"}) as own:
        with own.client(max_retries=0) as client:
            agent = client.beta.agents.create(model="m", name="a").id
            environment = client.beta.environments.create(name="e").id
            whole = client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[SAY])  # type: ignore[list-item]
            with pytest.raises(anthropic.APIConnectionError):
                client.beta.sessions.create(agent=agent, environment_id=environment, initial_events=[SAY])  # type: ignore[list-item]
        own.kill()  # only waits: it has killed itself
        own.start()
        async with own.bus() as bus:
            (incomplete,) = [key async for key in _keys(bus) if key.session != whole.id]
            with own.client() as client:
                assert incomplete.session not in [s.id for s in client.beta.sessions.list(include_archived=True)]
            await _sweep(bus)
            last = await bus.log.head(incomplete)
            assert last is not None
            assert last.commit.head.deleted
            with own.client() as client, pytest.raises(anthropic.NotFoundError):
                client.beta.sessions.retrieve(incomplete.session)
            kept = await bus.log.head(Key("default", whole.id))
            assert kept is not None
            assert not kept.commit.head.deleted, "its input is stored, it only waits for a harness"


async def test_a_claim_that_stands_still_with_nothing_waiting_is_nudged(bus: NatsBus, session: str) -> None:
    log = SessionLog(bus, session)
    await log.running()
    await _sweep(bus, ahead=16 * 60)
    await _sweep(bus, ahead=16 * 60)
    (waiting,) = await bus.inbox.pending(log.key)
    assert waiting.input is not None
    assert waiting.input.id.startswith("ndg_")


async def _keys(bus: NatsBus) -> AsyncIterator[Key]:
    async for batch in bus.log.follow("a0"):
        for key, _ in batch:
            yield key
        if not batch:
            return


async def _sweep(bus: NatsBus, *, ahead: float = 5 * 60) -> int:
    """One round of the sweeper as it will be in `ahead` seconds."""
    sessions = SessionRepository(bus, ReadModel(None, [FIRST_CELL]), cells=[FIRST_CELL], now=clock.now)
    following = asyncio.create_task(project(sessions))

    try:
        await asyncio.wait_for(sessions.read_model.tables.caught_up.wait(), 20)
        return await sweep_once(sessions, now=clock.now() + int(ahead * 1_000_000))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        sessions.read_model.close()
