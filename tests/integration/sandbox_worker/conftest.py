"""A NATS server, a connection to it, a sandbox worker as a process of its own, and a session."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.settings import ProcessSettings
from tests.support.isolation import Isolation
from tests.support.sandbox import DrivenSession, WorkerProcess, sandbox_worker
from tests.support.servers import NatsServer, nats_server


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[NatsBus]:
    client = await connect(ProcessSettings(nats_url=nats.url), name="test")
    yield client
    await client.close()


@pytest.fixture
async def worker(nats: NatsServer, tmp_path: Path, isolation: Isolation) -> AsyncIterator[WorkerProcess]:
    async with sandbox_worker(nats.url, tmp_path) as process:
        yield process


@pytest.fixture
async def session(bus: NatsBus) -> DrivenSession:
    driven = DrivenSession(bus)
    await driven.begin()
    return driven
