"""The egress proxy over its socket, against real servers: what passes, what is refused and how, and its limits."""

import asyncio
import ssl
from pathlib import Path

import pytest

from holdfast.sandbox.egress import Egress
from holdfast.sandbox.proxies.client_hello import ACCESS_DENIED
from tests.support.certificate import self_signed
from tests.support.client_hello import extension, message, names, real_hello, records
from tests.support.egress import ADDRESS, connect, echo_server, egress_route, get, say, tunnel

OPEN = Egress("unrestricted")
LOCAL = Egress("limited", ("localhost", ADDRESS))


async def test_a_plain_request_passes(tmp_path: Path) -> None:
    async with echo_server() as server, egress_route(tmp_path, LOCAL, "localhost") as route:
        answer = await get(route, "localhost", server.port, "Proxy-Authorization: Basic x", "X-Mine: 1")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"hello")
    (seen,) = server.requests
    assert seen.headers["host"] == f"localhost:{server.port}"
    assert seen.headers["x-mine"] == "1"
    assert "proxy-authorization" not in seen.headers


async def test_bodies_pass_both_ways(tmp_path: Path) -> None:
    body = bytes(range(256)) * 8192
    async with echo_server() as server, egress_route(tmp_path, OPEN, "localhost") as route:
        head = f"POST http://localhost:{server.port}/up HTTP/1.1\r\nHost: x\r\n"
        counted = await say(route, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:70000], body[70000:]))
        chunked = await say(route, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n")
        old = await say(route, f"GET http://localhost:{server.port}/big/9 HTTP/1.0\r\n\r\n".encode())
    assert [seen.body for seen in server.requests] == [body, body, b""]
    assert counted.endswith(body)
    assert chunked.endswith(body)
    assert old.endswith(b"\r\n\r\n" + b"x" * 9)


async def test_tls_passes_with_the_name_of_the_tunnel(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "localhost")
    trusted = ssl.create_default_context(cafile=files[0])
    async with echo_server(files) as server, egress_route(tmp_path, LOCAL, "localhost") as route:
        head, reader, writer = await tunnel(route, f"LOCALHOST.:{server.port}")
        assert head.startswith(b"HTTP/1.1 200 ")
        await writer.start_tls(trusted, server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
        writer.close()
    assert server.requests[0].headers["host"] == "a"


FRONTING = {
    "another name": real_hello("other.example"),
    "the same name and a hidden one": records(message(names(b"localhost"), extension(0xFE0D, b"\0"))),
    "no name": real_hello(None),
    "two names": records(message(names(b"localhost", b"other.example"))),
    "an address": records(message(names(b"127.0.0.1"))),
    "another name, byte by byte": records(real_hello("other.example")[5:], 1),
    "no TLS": b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
}


@pytest.mark.parametrize("what", FRONTING)
async def test_another_server_than_that_of_the_tunnel_is_refused(tmp_path: Path, what: str) -> None:
    heard = bytearray()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a greeting that must not arrive")
        heard.extend(await reader.read())
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with egress_route(tmp_path, LOCAL, "localhost") as route:
        for early in (True, False):
            head, reader, writer = await tunnel(route, f"localhost:{port}", FRONTING[what] if early else b"")
            assert head.startswith(b"HTTP/1.1 200 ")
            if not early:
                writer.write(FRONTING[what])
            assert await asyncio.wait_for(reader.read(), 10) == ACCESS_DENIED
            writer.close()
    server.close()
    assert heard == b""


async def test_a_tunnel_without_limits_carries_anything(tmp_path: Path) -> None:
    async with echo_server() as server, egress_route(tmp_path, OPEN, "localhost") as route:
        _, reader, writer = await tunnel(route, f"localhost:{server.port}", b"GET / HTTP/1.0\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"hello")
        writer.close()


SPELLINGS = (
    "127.0.0.1", "127.0.0.2", "0.0.0.0", "0", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "017700000001",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[fe80::1]", "[fe80::1%lo]", "[fc00::1]", "localhost", "LOCALHOST", "localhost.", "ip6-localhost",
    "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "10.0.0.1", "172.16.0.1", "192.168.0.1",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
    "\u246027.0.0.1", "127.0.0.1%2e", "%31%32%37.0.0.1",
)  # fmt: skip


async def test_addresses_inside_are_refused_in_every_spelling(tmp_path: Path) -> None:
    """No connection reaches a server on any address of this machine, and the answer says why."""
    async with echo_server() as server, egress_route(tmp_path, OPEN) as route:
        for host in SPELLINGS:
            plain = await get(route, host, server.port)
            head, _, writer = await tunnel(route, f"{host}:{server.port}")
            writer.close()
            for answer in (plain, head):
                assert answer.split(b" ")[1] in (b"400", b"403"), (host, answer)
        assert server.requests == []


async def test_the_answer_says_why_in_the_status_line_too(tmp_path: Path) -> None:
    async with egress_route(tmp_path, LOCAL) as route:
        head, reader, writer = await tunnel(route, "pypi.org:443")
        body = await reader.read()
        writer.close()
        assert (await say(route, b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:3128\r\n\r\n")).startswith(
            b"HTTP/1.1 400 Bad Request: this is an HTTP proxy"
        )
    text = b"pypi.org is not among the hosts that the environment of this session allows"
    assert head.startswith(b"HTTP/1.1 403 Forbidden: " + text)
    assert b"x-holdfast-egress: host\r\n" in head.lower()
    assert body == text + b"\n"


async def test_a_name_is_not_looked_up_before_it_is_allowed(tmp_path: Path) -> None:
    """A name that does not exist would be refused as such if somebody had asked for it."""
    async with egress_route(tmp_path, LOCAL) as route:
        answer = await get(route, "secret.of.the.session.invalid", 80)
        assert b"x-holdfast-egress: host" in answer.lower()


async def test_a_name_without_address_and_an_inner_one_look_alike(tmp_path: Path) -> None:
    async with egress_route(tmp_path, OPEN) as route:
        answers = [await get(route, host, 80) for host in ("localhost", "does-not-exist.invalid")]
    alike = {
        answer.replace(b"does-not-exist.invalid", b"localhost").partition(b"content-length")[0] for answer in answers
    }
    assert len(alike) == 1
    assert b"localhost has no public address" in alike.pop()


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with echo_server() as server:
        port = server.port
    async with egress_route(tmp_path, OPEN, ADDRESS) as route:
        answer = await get(route, ADDRESS, port)
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway: no connection to 127.0.0.2")
    assert b"x-holdfast-egress: unreachable" in answer.lower()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n", b"\0" * 100, b"GET\r\n\r\n", b"CONNECT\r\n\r\n", b"\x16\3\1\0\1x\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET http://a.example/ HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        b"GET http://a.example/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://a.example/" + b"x" * 100_000,
        b"CONNECT a.example HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a.example:443@b.example:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a.example:443/x HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_request_is_refused(tmp_path: Path, data: bytes) -> None:
    async with egress_route(tmp_path, OPEN) as route:
        assert (await say(route, data)).startswith(b"HTTP/1.1 400 Bad Request: ")


async def test_connections_beyond_the_limit_wait(tmp_path: Path) -> None:
    async with echo_server() as server, egress_route(tmp_path, OPEN, "localhost", connections=2) as route:
        open_ones = [await connect(route) for _ in range(2)]
        waiting = asyncio.create_task(get(route, "localhost", server.port))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        for _, writer in open_ones:
            writer.close()
        assert (await asyncio.wait_for(waiting, 10)).endswith(b"hello")


async def test_the_traffic_of_a_sandbox_ends_at_its_limit(tmp_path: Path) -> None:
    async with echo_server() as server, egress_route(tmp_path, OPEN, "localhost", total_bytes=1_000_000) as route:
        request = f"GET http://localhost:{server.port}/big/5000000 HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert len(await say(route, request)) < 1_100_000
        answer = await get(route, "localhost", server.port)
    assert answer.startswith(b"HTTP/1.1 403 Forbidden: this sandbox has used up the 1000000 bytes")


async def test_a_route_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    async with echo_server() as server, egress_route(tmp_path, OPEN, "localhost") as route:
        _, reader, writer = await tunnel(route, f"localhost:{server.port}")
        await route.close()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert not route.folder.exists()


async def test_an_end_does_not_wait_for_a_server_that_takes_nothing(tmp_path: Path) -> None:
    """Nor for a client that reads nothing."""
    stuck = asyncio.Event()

    async def take_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(1 << 24))
        await stuck.wait()
        writer.close()

    server = await asyncio.start_server(take_nothing, "127.0.0.1", 0, limit=1 << 12)
    port = server.sockets[0].getsockname()[1]
    async with egress_route(tmp_path, OPEN, "localhost") as route:
        _, _, writer = await tunnel(route, f"localhost:{port}")
        writer.write(bytes(1 << 24))
        await asyncio.sleep(0.2)
        async with asyncio.timeout(2):
            await route.close()
        writer.transport.abort()
    stuck.set()
    server.close()
