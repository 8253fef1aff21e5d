"""Fixtures: one stack that ordinary tests share, and a way to start one of its own for a test that breaks it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from anthropic import AsyncAnthropic

from tests.support.stack import Stack, stack


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with a scripted model. Tests leave it as they found it: they kill nothing."""
    with stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
async def client(shared: Stack) -> AsyncIterator[AsyncAnthropic]:
    """The official SDK, connected to the shared stack."""
    async with shared.client() as client:
        yield client
