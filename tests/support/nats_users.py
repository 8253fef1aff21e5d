"""A nats-server with the permissions that the repository gives, and connections as its users."""

import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import nats
from nats.aio.client import Client

from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.accounts import password_variable
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.permissions import permissions, users
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.readers import parse_readers
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

LAST = "refused.to.everyone"
QUOTED = re.compile(r'"([^"]+)"')


def with_passwords(cells: Sequence[str], readers: str = "") -> str:
    """Configuration of nats-server: the users for these cells, each with the password `<user>-password`.

    `readers` of public events as in HOLDFAST_READERS.
    """
    given = parse_readers(readers)
    names = [*users(cells), *(reader.user for reader in given)]
    passwords = "\n".join(f'{password_variable(user)} = "{user}-password"' for user in names)
    return f"{passwords}\n{permissions(cells, given)}"


def reload_now(server: NatsServer, config: str) -> None:
    """Give the running server other users. A new account has its imports at the second reload (docs/cells.md)."""
    for _ in range(2):
        server.reload_now(config)


def credentials_file(server: NatsServer, user: str) -> Path:
    """Path of a credentials file as services read it."""
    path = server.store / f"{user}.json"
    path.write_text(f'{{"user": "{user}", "password": "{user}-password"}}')
    return path


def provision_cell(server: NatsServer, cell: str, **settings: str) -> None:
    """Run the provisioner as the administrator. Raises CalledProcessError."""
    environ = {
        **settings,
        "HOLDFAST_NATS_URL": server.url,
        "HOLDFAST_NATS_CREDENTIALS": str(credentials_file(server, "admin")),
        "HOLDFAST_CELL": cell,
    }
    command = [sys.executable, "-m", "holdfast.bus.jetstream.provision"]
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def provisioned(store: Path, cells: Sequence[str] = (FIRST_CELL,)) -> Iterator[NatsServer]:
    """A server with the permissions for these cells, provisioned by its administrator."""
    made = NatsServer(store, config=with_passwords(cells))
    made.start_now()
    try:
        for cell in cells:
            provision_cell(made, cell)
        yield made
    finally:
        made.kill()


async def open_link(server: NatsServer, user: str) -> JetStreamClient:
    link = JetStreamClient()
    await link.open([server.url], name=user, login=(user, f"{user}-password"))
    return link


class Raw:
    """A plain connection that knows what it was refused; the library tells it in lower case."""

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client = client
        self._refused = refused

    async def refused(self) -> set[str]:
        """The subjects refused until now. Refusals come in order, so the last is waited for."""
        await self.client.publish(LAST, b"")
        await self.client.flush()

        async def last() -> bool:
            return any(LAST in text for text in self._refused)

        await eventually(last, what="the last refusal")
        return {QUOTED.findall(text)[0] for text in self._refused}


@contextlib.asynccontextmanager
async def raw(server: NatsServer, user: str) -> AsyncIterator[Raw]:
    refused: list[str] = []

    async def on_error(exc: Exception) -> None:
        refused.append(str(exc))

    client = await nats.connect(
        server.url, user=user, password=f"{user}-password", inbox_prefix=f"_INBOX_{user}".encode(), error_cb=on_error
    )
    try:
        yield Raw(client, refused)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def as_user(server: NatsServer, user: str) -> AsyncIterator[NatsBus]:
    bus = NatsBus(await open_link(server, user))
    try:
        yield bus
    finally:
        await bus.close()
