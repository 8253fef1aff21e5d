"""A session service without a harness, and a program that publishes tasks with the NATS library alone."""

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import httpx
import nats
import pytest
from anthropic import Anthropic
from nats.aio.client import Client

from tests.support.edge import SessionService, session_service


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="module")
def sync(edge: SessionService) -> Iterator[Anthropic]:
    with edge.client() as client:
        yield client


@pytest.fixture(scope="module")
def http(edge: SessionService) -> Iterator[httpx.Client]:
    with edge.http() as client:
        yield client


@pytest.fixture(scope="module")
def agent(sync: Anthropic) -> str:
    return sync.beta.agents.create(model="m-1", name="a").id


@pytest.fixture(scope="module")
def environment(sync: Anthropic) -> str:
    return sync.beta.environments.create(name="e").id


@pytest.fixture
async def publisher(edge: SessionService) -> AsyncIterator[Client]:
    client = await nats.connect(edge.nats.url)
    yield client
    await client.close()


@pytest.fixture
def bind(http: httpx.Client, agent: str, environment: str) -> Any:
    """Create the binding of a kind."""

    def create(kind: str, **fields: Any) -> dict[str, Any]:
        body = {"kind": kind, "agent": agent, "environment_id": environment, "message": "Do {{what}}.", **fields}
        answer = http.post("/v1/bindings", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return create
