"""One session service with a vault service for the tests that do no harm to it."""

from collections.abc import Generator, Iterator

import httpx
import pytest

from tests.support.edge import SessionService
from tests.support.webhooks import Receiver, Webhooks, receiver, webhook_stack


@pytest.fixture(scope="package")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with webhook_stack(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="package")
def http(edge: SessionService) -> Iterator[httpx.Client]:
    with edge.http() as client:
        yield client


@pytest.fixture
def webhooks(http: httpx.Client) -> Iterator[Webhooks]:
    """The resource; what a test has created is deleted after it."""
    yield Webhooks(http)
    for one in http.get("/v1/webhooks?limit=100").json()["data"]:
        http.delete(f"/v1/webhooks/{one['id']}")


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as made:
        yield made
