"""Connections to addresses that are not public are never made, whatever the name or spelling. Over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from holdfast.process.outbound import AddressRefused, connect, is_own


class Listening:
    """A server on all loopback addresses of one port, which counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[Listening]:
    listening = Listening()
    made = await asyncio.start_server(listening.answer, None, 0, family=socket.AF_INET)
    listening.port = made.sockets[0].getsockname()[1]
    async with made:
        yield listening


class Names:
    """A name server: each name has the addresses given for it."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.names[host]


HOSTS = ["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::ffff:127.0.0.1", "::", "localhost", "LOCALHOST"]
SPELLINGS = ["127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"]


@pytest.mark.parametrize("host", [*HOSTS, *SPELLINGS])
@pytest.mark.parametrize("tls", [False, True])
async def test_this_machine_is_not_reached_by_any_spelling(server: Listening, host: str, tls: bool) -> None:
    with pytest.raises(AddressRefused):
        await connect(host, server.port, tls=tls, limit=100)
    assert server.connections == 0


async def test_a_name_with_one_inner_address_among_public_ones_is_refused(server: Listening) -> None:
    names = Names({"mixed.example": ["1.1.1.1", "127.0.0.1"], "inner.example": ["127.0.0.1"]})
    for host in names.names:
        with pytest.raises(AddressRefused):
            await connect(host, server.port, tls=False, limit=100, addresses=names)
    assert server.connections == 0
    assert names.asked == ["mixed.example", "inner.example"], "each is looked up once"


async def test_the_operator_may_name_a_host_and_the_next_address_is_tried(server: Listening) -> None:
    names = Names({"hooks.internal": ["127.0.0.1"], "none.internal": []})
    reader, writer = await connect("hooks.internal", server.port, tls=False, limit=100, check=False, addresses=names)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    writer.close()
    await writer.wait_closed()
    assert server.connections == 1
    with pytest.raises(OSError, match="no address"):
        await connect("none.internal", server.port, tls=False, limit=100, check=False, addresses=names)


async def test_other_failures_are_no_refusals() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await connect("127.0.0.1", closed.getsockname()[1], tls=False, limit=100, check=False)


def test_own_addresses_are_known() -> None:
    """Among them may be a public one, which the rule of public addresses does not cover."""
    assert is_own("127.0.0.1")
    assert is_own("127.0.0.2")
    assert not is_own("1.1.1.1")
    assert not is_own("2606:4700:4700::1111")
