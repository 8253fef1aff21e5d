"""Hands whose workers run in this process, over the bus in memory and the real one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import DRIVERS, make_driver
from holdfast.testing.contracts.fixtures import Connect
from holdfast.testing.contracts.hands import HandUnderTest, ToolInput
from tests.support.both_buses import bus, joined, key, nats
from tests.support.clock import ClockDriver, hand_worker
from tests.support.clock_tools import CLOCK
from tests.support.docker_engine import SOCKET, require_driver
from tests.support.isolation import sandbox_settings

__all__ = ["bus", "hand", "joined", "key", "nats"]

BOX = HandUnderTest(
    name=SANDBOX,
    quick=ToolInput("glob", {"pattern": "*"}),
    slow=ToolInput("bash", {"command": "sleep 300"}),
)

HANDS = {
    **dict.fromkeys(DRIVERS, BOX),
    CLOCK: HandUnderTest(name=CLOCK, quick=ToolInput("now"), slow=ToolInput("sleep", {"seconds": 300})),
}


@pytest.fixture(params=sorted(HANDS))
async def hand(request: pytest.FixtureRequest, joined: Connect, tmp_path: Path) -> AsyncIterator[HandUnderTest]:
    """A running worker of the hand."""
    name: str = request.param
    if name == CLOCK:
        driver = ClockDriver()
    else:
        require_driver(name)
        driver = make_driver(sandbox_settings(driver=name, docker_socket=SOCKET, data_dir=str(tmp_path)))
    async with hand_worker(await joined("worker"), driver, hand=HANDS[name].name):
        yield HANDS[name]
