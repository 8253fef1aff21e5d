"""A session service without a harness, with an agent and an environment for each module of tests."""

from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from anthropic import Anthropic, AsyncAnthropic

from holdfast.bus.jetstream.client import NatsBus
from tests.support.edge import SessionService, session_service
from tests.support.session_log import SessionLog


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    folder = tmp_path_factory.mktemp("edge")
    with session_service(folder, {"HOLDFAST_SESSION_DATA": str(folder / "data")}) as running:
        yield running


@pytest.fixture(scope="module")
def sync(edge: SessionService) -> Iterator[Anthropic]:
    with edge.client() as client:
        yield client


@pytest.fixture
async def client(edge: SessionService) -> AsyncIterator[AsyncAnthropic]:
    async with edge.async_client(max_retries=0) as client:
        yield client


@pytest.fixture
async def bus(edge: SessionService) -> AsyncIterator[NatsBus]:
    async with edge.bus() as bus:
        yield bus


@pytest.fixture(scope="module")
def agent(sync: Anthropic) -> str:
    return sync.beta.agents.create(model="m-1", name="a", system="be kind").id


@pytest.fixture(scope="module")
def environment(sync: Anthropic) -> str:
    return sync.beta.environments.create(name="e").id


@pytest.fixture
async def session(client: AsyncAnthropic, agent: str, environment: str) -> str:
    return (await client.beta.sessions.create(agent=agent, environment_id=environment)).id


@pytest.fixture
async def log(bus: NatsBus, session: str) -> SessionLog:
    return SessionLog(bus, session)
