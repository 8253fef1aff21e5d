"""Fixtures: one stack that ordinary tests share, and a way to start one of its own for a test that breaks it."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from anthropic import AsyncAnthropic

from tests.support.isolation import Isolation, require_sandbox
from tests.support.stack import Stack, stack


def pytest_configure() -> None:
    """Programs that tests start can be ended with Ctrl-C, also when the suite itself runs in the background.

    A shell without job control starts what is put in the background (`make test &`) with SIGINT ignored, and that is
    inherited by every program below it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def isolation() -> Isolation:
    """The isolation of this machine. Skips, or fails when a sandbox is required, where no sandbox can be made."""
    return require_sandbox()


@pytest.fixture(scope="session")
def strong_limits(isolation: Isolation) -> None:
    """Skips where not all limits hold for a sandbox as a whole."""
    if isolation.weak_limits:
        pytest.skip(f"limits of a whole sandbox cannot be tested here: {isolation.weak_limits}")


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
