"""Fixtures over the bus in memory and the real one: a test that uses `joined` runs over both."""

from collections.abc import AsyncIterator, Iterator

import pytest

from holdfast.bus import streams
from holdfast.bus.api import Bus
from holdfast.bus.jetstream.client import connect
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import ProcessSettings
from holdfast.testing.contracts.fixtures import Connect, bus, key
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer
from tests.support.servers import NatsServer

__all__ = ["bus", "joined", "key", "nats"]


@pytest.fixture(scope="package")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))

    try:
        server.start_now()
        server.provision()
        yield server
    finally:
        server.kill()


async def _purged(server: NatsServer) -> None:
    link = JetStreamClient()
    await link.open([server.url], name="purge", login=None)
    await link.api(f"STREAM.PURGE.{streams.inbox_stream()}")
    await link.close()


@pytest.fixture(params=["memory", "nats"])
async def joined(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Connects one more process to the same bus."""
    made: list[Bus] = []
    if request.param == "memory":
        memory = MemoryServer()

        async def join(name: str) -> Bus:
            made.append(MemoryBus(memory, name))
            return made[-1]
    else:
        server: NatsServer = request.getfixturevalue("nats")
        await _purged(server)

        async def join(name: str) -> Bus:
            made.append(await connect(ProcessSettings(nats_url=server.url), name=name))
            return made[-1]

    yield join
    for process in made:
        await process.close()
