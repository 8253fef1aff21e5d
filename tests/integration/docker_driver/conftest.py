"""A driver `docker` on an engine of this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import docker
import pytest

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers.docker.driver import Docker
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.settings import SandboxSettings
from tests.support.docker_engine import SOCKET, require_driver
from tests.support.isolation import sandbox_settings

MakeSettings = Callable[..., SandboxSettings]


def spec(key: Key | None = None) -> HandSpec:
    """A new hand, of a new session by default."""
    return HandSpec(key=key or Key("default", new_session_id()), kind=SANDBOX, generation=new_id("sbx"))


@pytest.fixture
def settings(tmp_path: Path) -> MakeSettings:
    """Makes settings for the engine and a data folder of the test."""
    require_driver("docker")

    def make(**more: object) -> SandboxSettings:
        return sandbox_settings(**{"driver": "docker", "data_dir": str(tmp_path), "docker_socket": SOCKET, **more})

    return make


@pytest.fixture
def engine(settings: MakeSettings) -> Iterator[docker.APIClient]:
    """The engine, as its operator sees it."""
    with contextlib.closing(docker.APIClient(base_url=f"unix://{settings().docker_socket}", version="auto")) as engine:
        yield engine


@pytest.fixture
async def driver(settings: MakeSettings) -> AsyncIterator[Docker]:
    """An open driver. Its engine has 3 s for a request."""
    driver = Docker(settings(docker_timeout=3))
    await driver.open(new_id("wrk"))
    yield driver
    await asyncio.wait_for(driver.close(), 30)
