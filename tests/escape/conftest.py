"""A real sandbox of each driver, small enough that every limit is reached in a moment."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.sandbox.drivers import DRIVERS, Driver, Outcome, Sandbox
from holdfast.sandbox.settings import MIB, SandboxSettings
from tests.support.isolation import Isolation, sandbox_settings

CANARY = "canary-7f3a91c2-do-not-find-me"
"""Stands for a credential of the platform: in the environment of the service and in files of its host."""


class Inside:
    """One sandbox seen from inside: what the model's code sees."""

    def __init__(self, driver: Driver, box: Sandbox, key: Key, data: Path) -> None:
        self.driver = driver
        self.box = box
        self.key = key
        self.data = data
        self._count = 0

    @property
    def workspace(self) -> Path:
        """The workspace seen from outside, to plant and to look."""
        return self.data / "workspaces" / self.key.tenant / self.key.session

    async def call(self, name: str, **arguments: object) -> Outcome:
        self._count += 1
        return await self.box.run(f"call_{self._count}", name, arguments)

    async def sh(self, command: str, *, timeout_ms: int = 30_000) -> str:
        """The text of a bash call, whether it failed or not."""
        return text_of(await self.call("bash", command=command, timeout_ms=timeout_ms))

    async def python(self, code: str) -> str:
        """What a Python program prints inside."""
        await self.call("write", file_path="probe.py", content=code)
        return await self.sh("python3 probe.py")


def text_of(outcome: Outcome) -> str:
    return "".join(block.get("text", "") for block in outcome.content)


def plant(data: Path) -> Path:
    """Files with a canary beside and in the data folder."""
    data.mkdir()
    for place in (data / "secret", data.parent / "credentials.json"):
        place.write_text(CANARY)
    return data


Make = Callable[[], Awaitable[Inside]]


@pytest.fixture(params=sorted(DRIVERS))
def settings(request: pytest.FixtureRequest, tmp_path: Path, isolation: Isolation) -> SandboxSettings:
    return sandbox_settings(
        driver=request.param,
        data_dir=str(tmp_path / "data"),
        memory_bytes=192 * MIB,
        pids=64,
        cpus=1.0,
        tmp_bytes=16 * MIB,
        disk_bytes=64 * MIB,
        disk_files=3000,
        call_timeout=30,
    )


@pytest.fixture
async def make(settings: SandboxSettings) -> AsyncIterator[Make]:
    """Makes sandboxes of one driver; the service's environment and its data hold canaries."""
    before = dict(os.environ)
    os.environ.update(ANTHROPIC_API_KEY=CANARY, HOLDFAST_NATS_CREDENTIALS=CANARY)
    data = plant(Path(settings.data_dir))
    driver = DRIVERS[settings.driver](settings)
    await driver.open(new_id("wrk"))

    async def one() -> Inside:
        key = Key("default", new_session_id())
        return Inside(driver, await driver.create(key, new_id("sbx")), key, data)

    try:
        yield one
    finally:
        await asyncio.wait_for(driver.close(), 20)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
async def inside(make: Make) -> Inside:
    return await make()
