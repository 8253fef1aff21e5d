"""Connections to addresses that are not public are never made, whatever the name or spelling. Over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from holdfast.process.outbound import public_connector, unchecked_connector, was_refused


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


class Names(AbstractResolver):
    """A name server: each name has the addresses given for it."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=0)
            for ip in self.names[host]
        ]

    async def close(self) -> None:
        pass


async def failure(connector: aiohttp.TCPConnector, url: str) -> BaseException:
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5)) as session:
        with pytest.raises((aiohttp.ClientError, OSError, ValueError)) as wrong:
            await session.post(url, data=b"x", allow_redirects=False)
        return wrong.value


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::]", "localhost", "LOCALHOST"]
)
async def test_this_machine_is_not_reached(server: Listening, host: str) -> None:
    exc = await failure(public_connector(limit=1), f"http://{host}:{server.port}/")
    assert was_refused(exc), repr(exc)
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "localhost."]
)
async def test_nor_by_another_spelling(server: Listening, host: str) -> None:
    await failure(public_connector(limit=1), f"http://{host}:{server.port}/")
    assert server.connections == 0


async def test_a_name_with_one_inner_address_among_public_ones_is_refused(server: Listening) -> None:
    names = Names({"mixed.example": ["192.0.2.1", "127.0.0.1"], "inner.example": ["127.0.0.1"]})
    for host in names.names:
        exc = await failure(public_connector(limit=1, resolver=names), f"http://{host}:{server.port}/")
        assert was_refused(exc), repr(exc)
    assert server.connections == 0
    assert names.asked == ["mixed.example", "inner.example"]


async def test_the_operator_may_name_a_host(server: Listening) -> None:
    async with (
        aiohttp.ClientSession(connector=unchecked_connector(limit=1)) as session,
        session.post(f"http://127.0.0.1:{server.port}/", data=b"x") as response,
    ):
        assert response.status == 204
    assert server.connections == 1


async def test_other_failures_are_no_refusals() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        exc = await failure(unchecked_connector(limit=1), f"http://127.0.0.1:{closed.getsockname()[1]}/")
    assert not was_refused(exc)
