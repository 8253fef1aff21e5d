"""Three nats-servers as one cluster, with three copies of every stream."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.cli.embedded.ports import free_port
from tests.support.eventually import eventually
from tests.support.servers import NatsServer


@contextlib.asynccontextmanager
async def nats_cluster(folder: Path) -> AsyncGenerator[dict[str, NatsServer]]:
    """Three servers by name, without logins; they are killed at the end."""
    ports = [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    servers = {
        f"n{number}": NatsServer(
            folder / f"n{number}",
            config=f'server_name: n{number}\ncluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}\n',
        )
        for number, port in enumerate(ports)
    }
    try:
        await asyncio.gather(*(server.start() for server in servers.values()))
        yield servers
    finally:
        for server in servers.values():
            server.kill()


def urls(servers: dict[str, NatsServer]) -> str:
    """The addresses of all servers, as in HOLDFAST_NATS_URL."""
    return ",".join(server.url for server in servers.values())


async def provisioned(servers: dict[str, NatsServer]) -> JetStreamClient:
    """A connection to the cluster, which has the streams and buckets now."""
    link = JetStreamClient()
    await link.open(urls(servers).split(","), name="admin", login=None)

    async def done() -> bool:
        with contextlib.suppress(Exception):  # the cluster has yet to elect a leader
            await provision(link, FIRST_CELL, replicas=3)
            return True
        return False

    await eventually(done, within=60)
    return link
