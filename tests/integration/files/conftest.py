"""One session service for the tests of files that do no harm to it."""

from collections.abc import Generator, Iterator
from typing import Any

import httpx
import pytest

from tests.support.edge import SessionService, session_service


@pytest.fixture(scope="package")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge")) as running:
        yield running


@pytest.fixture(scope="package")
def files(edge: SessionService) -> Any:
    """The resource of the official SDK. Untyped, because some of what is sent here breaks its types."""
    return edge.client(max_retries=0).beta.files


@pytest.fixture(scope="package")
def http(edge: SessionService) -> Iterator[httpx.Client]:
    with edge.http() as client:
        yield client
