"""A session service and the administrator's connection, on one nats-server."""

from collections.abc import AsyncIterator, Generator

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from tests.support.edge import SessionService, session_service


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    folder = tmp_path_factory.mktemp("edge")
    with session_service(folder, {"HOLDFAST_SESSION_DATA": str(folder / "data")}) as running:
        yield running


@pytest.fixture
async def client(edge: SessionService) -> AsyncIterator[AsyncAnthropic]:
    async with edge.async_client(max_retries=0) as client:
        yield client


@pytest.fixture
async def bus(edge: SessionService) -> AsyncIterator[NatsBus]:
    async with edge.bus() as bus:
        yield bus


@pytest.fixture
async def admin(edge: SessionService) -> AsyncIterator[JetStreamClient]:
    client = JetStreamClient()
    await client.open([edge.nats.url], name="admin", login=None)
    yield client
    await client.close()
