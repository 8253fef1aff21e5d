"""One connection of a sandbox to the egress proxy: one request, or one tunnel."""

import asyncio
import contextlib
import http
import socket
from collections.abc import Collection
from typing import Final, Protocol

import h11

from holdfast.process import outbound
from holdfast.process.outbound import AddressRefused
from holdfast.sandbox.egress import Egress
from holdfast.sandbox.proxies import egress_rules
from holdfast.sandbox.proxies.client_hello import ACCESS_DENIED, Hello, NotTls, read_hello
from holdfast.sandbox.proxies.egress_http import exchange, split_url, upstream_request
from holdfast.sandbox.proxies.egress_rules import Refused, Target, host_of, target_of
from holdfast.sandbox.proxies.http_peer import CHUNK_BYTES, HttpPeer, Sent, end
from holdfast.sandbox.proxies.lookup import Lookups

HEAD_TIMEOUT_S: Final = 30.0
"""Seconds that a client has for its request, and for the first message of TLS in a tunnel."""

CONNECT_TIMEOUT_S: Final = 20.0
"""Seconds for the lookup of a name and the connection to the server."""

IDLE_TIMEOUT_S: Final = 900.0
"""Seconds without a byte in either direction after which a connection is ended."""

REASON_HEADER: Final = b"x-holdfast-egress"
"""Header field of an answer of the proxy itself: its code. Servers are not kept from sending it too."""


class Network(Protocol):
    """What a connection needs to know of the network of its sandbox."""

    egress: Egress
    exempt: Collection[str]
    lookups: Lookups

    def count(self, size: int) -> None:
        """Bytes that were read from the sandbox or a server. Raises Refused when there were too many."""
        ...

    def verdict(self, target: str, code: str) -> None:
        """What was decided: an empty code for a connection that was made."""
        ...


class Connection:
    """`serve` ends when the connection has; the caller closes `writer`."""

    def __init__(self, network: Network, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._network = network
        self._client = HttpPeer(h11.SERVER, reader, writer, self._moved)
        self._upstream: asyncio.StreamWriter | None = None
        self._idle: asyncio.Timeout | None = None
        self._host = ""

    async def serve(self) -> None:
        """Answer the one request of the connection. Whatever the sandbox sends, no error is raised."""
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S) as self._idle:
                await self._answer_or_refuse()
        except (OSError, h11.ProtocolError):
            pass  # one of the two ends has ended it, or nothing moved for too long
        except asyncio.CancelledError:  # the sandbox has ended: nothing waits for an end that takes nothing more
            self._client.writer.transport.abort()
            if self._upstream is not None:
                self._upstream.transport.abort()
            raise
        finally:
            if self._upstream is not None:
                await end(self._upstream)

    async def _answer_or_refuse(self) -> None:
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                request = await self._client.receive()
            if isinstance(request, h11.Request):
                await self._carry_out(request)
        except Refused as exc:
            self._network.verdict(self._host, exc.code)
            await self._refuse(exc)
        except h11.RemoteProtocolError as exc:
            if not self._host:
                self._network.verdict("", "malformed")
                await self._refuse(Refused("malformed", f"not HTTP: {exc}", 400))
            else:
                await self._refuse(Refused("server", f"{self._host} did not answer in HTTP: {exc}", 502))

    def _moved(self, size: int) -> None:
        self._network.count(size)
        if self._idle is not None and not self._idle.expired():
            self._idle.reschedule(asyncio.get_running_loop().time() + IDLE_TIMEOUT_S)

    async def _carry_out(self, request: h11.Request) -> None:
        if request.method == b"CONNECT":
            target = target_of(request.target.decode("ascii", "replace"))
            self._host = str(target)
            egress_rules.check(self._network.egress, target, tunnel=True, exempt=self._network.exempt)
            await self._tunnel(target, *await self._connect(target))
            return
        target, path = split_url(request.target)
        self._host = str(target)
        egress_rules.check(self._network.egress, target, tunnel=False, exempt=self._network.exempt)
        reader, writer = await self._connect(target)
        self._network.verdict(self._host, "")
        server = HttpPeer(h11.CLIENT, reader, writer, self._moved)
        await exchange(self._client, server, upstream_request(request, target, path))

    async def _connect(self, target: Target) -> outbound.Streams:
        """A connection to an address of the target that was checked. Raises Refused."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                streams = await outbound.connect(
                    target.host,
                    target.port,
                    tls=False,
                    limit=CHUNK_BYTES,
                    check=target.host not in self._network.exempt,
                    addresses=self._network.lookups.addresses,
                )
        except AddressRefused:
            text = f"{target.host} has no public address; private and local addresses cannot be reached"
            raise Refused("address", text) from None
        except TimeoutError:
            raise Refused("timeout", f"{target} did not answer within {CONNECT_TIMEOUT_S:g} s", 504) from None
        except socket.gaierror:
            raise Refused("lookup", f"the name {target.host} could not be looked up; try again", 502) from None
        except OSError as exc:
            text = f"no connection to {target}: {exc.strerror or type(exc).__name__}"
            raise Refused("unreachable", text, 502) from None
        self._upstream = streams[1]
        return streams

    async def _tunnel(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not isinstance(await self._client.receive(), h11.EndOfMessage):
            raise Refused("malformed", "a CONNECT request has no body", 400)
        await self._client.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        first, _ = self._client.http.trailing_data
        if egress_rules.must_name_itself(self._network.egress):
            first = await self._checked_hello(target, first)
            if not first:
                return
        self._network.verdict(self._host, "")
        writer.write(first)
        await self._relay(reader, writer)

    async def _checked_hello(self, target: Target, data: bytes) -> bytes:
        """All that the client has sent up to its first message of TLS; empty if it does not ask for the target."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                while (hello := read_hello(data)) is None:
                    more = await self._client.reader.read(CHUNK_BYTES)
                    if not more:
                        return b""
                    self._moved(len(more))
                    data += more
            if not hello.hides_name and _asked_host(hello) == ("" if target.is_address else target.host):
                return data
        except (NotTls, Refused):
            pass  # not a name that can be compared
        self._network.verdict(self._host, "server_name")
        self._client.writer.write(ACCESS_DENIED)
        await self._client.writer.drain()
        return b""

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes both ways until both ends have finished, or either breaks. Raises OSError and Refused."""

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(CHUNK_BYTES):
                self._moved(len(data))
                sink.write(data)
                await sink.drain()
            sink.write_eof()

        copies = [copy(self._client.reader, writer), copy(reader, self._client.writer)]
        tasks = [asyncio.create_task(one) for one in copies]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _refuse(self, refused: Refused) -> None:
        """Answer that, unless an answer is on its way. The reason phrase has the text too: programs show it."""
        if self._client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{refused}\n".encode()
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            (REASON_HEADER, refused.code.encode()),
        ]
        response = h11.Response(status_code=refused.status, headers=headers, reason=_reason(refused))
        events: list[Sent] = [response, h11.Data(data=body), h11.EndOfMessage()]
        with contextlib.suppress(OSError, h11.ProtocolError):
            for event in events:
                self._client.writer.write(self._client.http.send(event) or b"")
            await self._client.writer.drain()


def _asked_host(hello: Hello) -> str:
    """The host for which the client asks; empty if for none. Raises Refused."""
    return host_of(hello.server_name) if hello.server_name else ""


def _reason(refused: Refused) -> bytes:
    """The reason phrase: the usual words, then the text, without characters that may not stand there."""
    usual = http.HTTPStatus(refused.status).phrase
    text = "".join(char for char in str(refused) if char.isascii() and char.isprintable())
    return f"{usual}: {text}".encode()
