"""A real sandbox of each driver. Its limits are small, so that a test reaches them quickly."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import DRIVERS, Driver, Outcome, Sandbox
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.settings import MIB, SandboxSettings
from tests.support.docker_engine import SOCKET, require_driver
from tests.support.isolation import sandbox_settings

CANARY = "canary-7f3a91c2-do-not-find-me"
"""A fake credential in the environment of the service and in files of its host. No sandbox may see it."""


class Inside:
    """Runs tool calls, commands and programs in one sandbox, as the code of a model does."""

    def __init__(self, driver: Driver, sandbox: Sandbox, key: Key, data: Path, generation: str = "") -> None:
        self.driver = driver
        self.sandbox = sandbox
        self.key = key
        self.data = data
        self.generation = generation
        """Name of its control group."""
        self._count = 0

    @property
    def is_docker(self) -> bool:
        """Whether the driver is Docker's."""
        return self.driver.name == "docker"

    @property
    def first_process(self) -> int:
        """The id on the host of the first process of the sandbox: the agent, whose end ends the sandbox."""
        processes = self.driver._processes  # type: ignore[attr-defined]
        return next(process.pid for process in processes if process.sandbox is self.sandbox)

    @property
    def workspace(self) -> Path:
        """The path of the workspace on the host."""
        return self.data / "workspaces" / self.key.tenant / self.key.session

    async def call(self, name: str, **arguments: object) -> Outcome:
        """The outcome of one tool call."""
        self._count += 1
        return await self.sandbox.run(f"call_{self._count}", name, arguments)

    async def sh(self, command: str, *, timeout_ms: int = 30_000) -> str:
        """The text of the result of a `bash` call, also of a failed one."""
        return text_of(await self.call("bash", command=command, timeout_ms=timeout_ms))

    async def python(self, code: str) -> str:
        """The output of a Python program that is run in the sandbox."""
        await self.call("write", file_path="probe.py", content=code)
        return await self.sh("python3 probe.py")


def text_of(outcome: Outcome) -> str:
    """All text of the outcome of a call."""
    return "".join(block.get("text", "") for block in outcome.content)


def make_data_folder(data: Path) -> Path:
    """Make the data folder, with a file that holds CANARY in it and another one beside it."""
    data.mkdir()
    for place in (data / "secret", data.parent / "credentials.json"):
        place.write_text(CANARY)
    return data


MakeSandbox = Callable[[], Awaitable[Inside]]
"""Makes the sandbox of a new session."""


@pytest.fixture(params=sorted(DRIVERS))
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> SandboxSettings:
    require_driver(request.param)
    return sandbox_settings(
        driver=request.param,
        docker_socket=SOCKET,
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
async def make(settings: SandboxSettings) -> AsyncIterator[MakeSandbox]:
    """Makes sandboxes of one driver. CANARY is in the environment of this process and in its data folder."""
    before = dict(os.environ)
    os.environ.update(ANTHROPIC_API_KEY=CANARY, HOLDFAST_NATS_CREDENTIALS=CANARY)
    data = make_data_folder(Path(settings.data_dir))
    driver = DRIVERS[settings.driver](settings)
    await driver.open(new_id("wrk"))

    async def one() -> Inside:
        key = Key("default", new_session_id())
        spec = HandSpec(key=key, kind=SANDBOX, generation=new_id("sbx"))
        return Inside(driver, await driver.create(spec), key, data, spec.generation)

    try:
        yield one
    finally:
        await asyncio.wait_for(driver.close(), 20)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
async def inside(make: MakeSandbox) -> Inside:
    return await make()
