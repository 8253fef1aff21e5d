"""A sandbox worker neither replaces nor forgets what a newer worker has stored."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from holdfast.bus import subjects
from holdfast.bus.commands import Provisioned
from holdfast.bus.errors import Newer
from holdfast.bus.ids import FIRST_CELL, new_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.placement import BUCKET, Placement, encode
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.newer import newer_record
from tests.support.sandbox import DrivenSession, WorkerProcess, sandbox_worker


@pytest.fixture
async def worker(edge: SessionService, tmp_path: Path, isolation: Isolation) -> AsyncIterator[WorkerProcess]:
    async with sandbox_worker(edge.nats.url, tmp_path) as process:
        yield process


async def test_a_newer_placement_is_kept_and_the_request_may_be_repeated(bus: NatsBus, worker: WorkerProcess) -> None:
    session = DrivenSession(bus)
    await session.begin()
    await session.provision()
    stored = await newer_record(bus, BUCKET, subjects.placement_key(session.key, SANDBOX))
    worker_log = worker.log()
    for _ in range(2):
        with pytest.raises(Newer):
            await session.provision()
    entry = await bus.kv.get(BUCKET, subjects.placement_key(session.key, SANDBOX))
    assert entry
    assert entry.value == stored
    assert "Traceback" not in worker.log()[len(worker_log) :]


async def test_a_newer_placement_of_a_dead_worker_is_logged_once_and_kept(bus: NatsBus, worker: WorkerProcess) -> None:
    async def placed() -> DrivenSession:
        session = DrivenSession(bus)
        await session.begin()
        session.sandbox = Provisioned(generation=new_id("sbx"), worker="wrk_gone")
        record = Placement(generation=session.sandbox.generation, worker="wrk_gone")
        await bus.kv.put(BUCKET, subjects.placement_key(session.key, SANDBOX), encode(record))
        return session

    async def swept(worker_id: str) -> None:
        await bus.kv.put(BUCKET, subjects.worker_key(FIRST_CELL, worker_id), b"{}")
        await bus.kv.delete(BUCKET, subjects.worker_key(FIRST_CELL, worker_id))

    newer = await placed()
    name = subjects.placement_key(newer.key, SANDBOX)
    stored = await newer_record(bus, BUCKET, name)
    for _ in range(2):
        other = await placed()
        await swept(new_id("wrk"))
        await other.gone()

    async def logged() -> bool:
        return name in worker.log()

    await eventually(logged, what="the newer placement is logged")
    assert sum(name in line for line in worker.log().splitlines()) == 1
    entry = await bus.kv.get(BUCKET, name)
    assert entry
    assert entry.value == stored, "a newer worker will report it"


async def test_a_request_of_a_newer_version_is_answered_as_such(bus: NatsBus, worker: WorkerProcess) -> None:
    request = {"v": 99, "tenant": "default", "session": "sesn_a0_x", "environment": {}, "image": "later"}
    with pytest.raises(Newer):
        await bus.core.request(subjects.provision(FIRST_CELL, SANDBOX), msgspec.json.encode(request), timeout=5)
