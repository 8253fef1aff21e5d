"""Servers that a sandbox may or may not reach, and a client of the egress proxy that sends any bytes."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.sandbox.egress import Egress
from holdfast.sandbox.proxies.egress_proxy import SOCKET, EgressLimits, EgressProxy, EgressRoute

ADDRESS = "127.0.0.2"
"""An address of the servers. Inside a sandbox it is no exception from the proxy, as 127.0.0.1 is."""


class Seen(msgspec.Struct, frozen=True):
    """A request as a server got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class EchoServer:
    """Answers a request with its body, or with `hello`. `/big/N` answers N bytes."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Seen(request.method, request.path_qs, headers, body))
        if request.path.startswith("/big/"):
            body = b"x" * int(request.path.rpartition("/")[2])
        return web.Response(body=body or b"hello")


@contextlib.asynccontextmanager
async def echo_server(certificate: tuple[Path, Path] | None = None) -> AsyncIterator[EchoServer]:
    """A server on all addresses of loopback; https with files of a certificate and its key."""
    server = EchoServer()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    site = web.TCPSite(runner, "0.0.0.0", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def egress_route(
    folder: Path, egress: Egress, *exempt: str, connections: int = 64, total_bytes: int = 0
) -> AsyncIterator[EgressRoute]:
    """The way out of a sandbox that does not exist: its socket is in the folder of the route."""
    proxy = EgressProxy(EgressLimits(connections, total_bytes), exempt)
    route = proxy.open(egress, Key("default", new_session_id()), new_id("sbx"), folder / "egress")
    try:
        yield route
    finally:
        await route.close()


async def connect(route: EgressRoute) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the proxy, as the forwarder of the sandbox makes it."""
    return await asyncio.open_unix_connection(f"{route.folder}/{SOCKET}")


async def say(route: EgressRoute, data: bytes) -> bytes:
    """Send the bytes and no more. Returns all that comes back."""
    loop, answer = asyncio.get_running_loop(), b""
    # Not a stream: that forgets what has come when the connection is reset.
    with socket.socket(socket.AF_UNIX) as own, contextlib.suppress(ConnectionError):
        own.setblocking(False)
        async with asyncio.timeout(20):
            await loop.sock_connect(own, f"{route.folder}/{SOCKET}")
            sending = asyncio.create_task(loop.sock_sendall(own, data))
            while more := await loop.sock_recv(own, 1 << 18):
                answer += more
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    return answer


async def get(route: EgressRoute, host: str, port: int | str, *more: str) -> bytes:
    """A plain request by way of the proxy. Returns the whole answer."""
    lines = [f"GET http://{host}:{port}/ HTTP/1.1", f"Host: {host}", *more, "", ""]
    return await say(route, "\r\n".join(lines).encode())


async def tunnel(
    route: EgressRoute, target: str, data: bytes = b""
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """The head of the answer to CONNECT, and the connection. `data` follows the request at once."""
    reader, writer = await connect(route)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode() + data)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    return head, reader, writer
