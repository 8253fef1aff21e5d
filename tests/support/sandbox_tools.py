"""The tools of one sandbox without the services around it, as a session calls them."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import Outcome, Sandbox, make_driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from tests.support.isolation import sandbox_settings


class Tools:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._count = 0

    async def call(self, name: str, **arguments: object) -> Outcome:
        self._count += 1
        return await self.sandbox.run(f"call_{self._count}", name, arguments)

    async def text(self, name: str, **arguments: object) -> str:
        """The text of a call, whether it failed or not."""
        return text_of(await self.call(name, **arguments))

    async def sh(self, command: str, **more: object) -> str:
        """What a command prints."""
        return await self.text("bash", command=command, **more)


def text_of(outcome: Outcome) -> str:
    return "".join(block.get("text", "") for block in outcome.content)


@contextlib.asynccontextmanager
async def new_tools(data: Path, **settings: object) -> AsyncGenerator[Tools]:
    """A new sandbox, of a driver of its own with these settings."""
    driver = make_driver(sandbox_settings(data_dir=str(data), **settings))
    await driver.open(new_id("wrk"))
    try:
        spec = HandSpec(key=Key("default", new_session_id()), kind=SANDBOX, generation=new_id("sbx"))
        yield Tools(await driver.create(spec))
    finally:
        await driver.close()
