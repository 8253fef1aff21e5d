"""A bus on a real server, directly and through a proxy that drops answers."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import ProcessSettings
from tests.support.proxy import Proxy, proxy
from tests.support.servers import NatsServer, nats_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    made = await connect(ProcessSettings(nats_url=server.url), name="test")
    yield made
    await made.close()


@pytest.fixture
async def between(server: NatsServer) -> AsyncIterator[Proxy]:
    async with proxy(server.port) as running:
        yield running


@pytest.fixture
async def far(between: Proxy) -> AsyncIterator[NatsBus]:
    """Connected through the proxy."""
    made = await connect(ProcessSettings(nats_url=between.url), name="far")
    yield made
    await made.close()


@pytest.fixture
async def admin(server: NatsServer) -> AsyncIterator[JetStreamClient]:
    link = JetStreamClient()
    await link.open([server.url], name="admin", login=None)
    yield link
    await link.close()


@pytest.fixture
def key() -> Key:
    return Key("acme", new_session_id())
