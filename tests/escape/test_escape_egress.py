"""A sandbox with a network reaches what its environment allows, by way of the egress proxy, and nothing else."""

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers import DRIVERS, make_driver
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.egress import Egress
from tests.escape.conftest import Inside, make_data_folder
from tests.support.docker_engine import SOCKET, require_driver
from tests.support.egress import ADDRESS, EchoServer, echo_server
from tests.support.isolation import sandbox_settings

OPEN = Egress("unrestricted")
LIMITED = Egress("limited", (ADDRESS, "*.example.com"))

MakeWithNetwork = Callable[[Egress], Awaitable[Inside]]


@pytest.fixture(params=sorted(DRIVERS))
async def make_with(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MakeWithNetwork]:
    """Makes sandboxes of one driver with a network. The operator lets them reach ADDRESS, on any port."""
    require_driver(request.param)
    data = make_data_folder(tmp_path / "data")
    driver = make_driver(
        sandbox_settings(
            driver=request.param, docker_socket=SOCKET, data_dir=str(data), egress_hosts=ADDRESS, call_timeout=30
        )
    )
    await driver.open(new_id("wrk"))

    async def one(egress: Egress) -> Inside:
        spec = HandSpec(key=Key("default", new_session_id()), kind=SANDBOX, generation=new_id("sbx"))
        sandbox = await driver.create(replace(spec, egress=egress))
        return Inside(driver, sandbox, spec.key, data, spec.generation)

    try:
        yield one
    finally:
        await asyncio.wait_for(driver.close(), 20)


@pytest.fixture
async def server() -> AsyncIterator[EchoServer]:
    async with echo_server() as running:
        yield running


PYTHON = """
import sys, urllib.request
try:
    print(urllib.request.urlopen({url!r}, timeout=10).read().decode())
except OSError as exc:
    print(type(exc).__name__, exc)
"""


async def test_programs_find_the_proxy(make_with: MakeWithNetwork, server: EchoServer) -> None:
    inside = await make_with(LIMITED)
    url = f"http://{ADDRESS}:{server.port}/"
    assert await inside.python(PYTHON.format(url=url)) == "hello\n"
    if shutil.which("curl", path="/usr/bin"):
        assert await inside.sh(f"curl -sS {url}") == "hello"
        refused = await inside.sh("curl -sSv https://pypi.org/ 2>&1")
        assert "403 Forbidden: pypi.org is not among the hosts" in refused
    assert server.requests[0].headers["host"] == f"{ADDRESS}:{server.port}"


async def test_a_host_that_is_not_allowed_is_refused_in_words(make_with: MakeWithNetwork) -> None:
    inside = await make_with(LIMITED)
    text = "pypi.org is not among the hosts that the environment of this session allows"
    for url in ("http://pypi.org/", "https://pypi.org/"):
        assert text in await inside.python(PYTHON.format(url=url))
    assert await inside.python(PYTHON.format(url=f"http://{ADDRESS.replace('2', '3')}/")) != "hello\n"


BYPASS = """
import socket
for family, address in {targets!r}:
    try:
        with socket.socket(getattr(socket, family), socket.SOCK_STREAM) as s:
            s.settimeout(3)
            s.connect(tuple(address) if isinstance(address, list) else address)
            print("connected", address)
    except OSError as exc:
        print("refused")
try: print("resolved", socket.getaddrinfo("example.com", 80))
except socket.gaierror: print("refused")
"""


async def test_there_is_no_way_around_the_proxy(make_with: MakeWithNetwork, server: EchoServer) -> None:
    """Without the variables, to a server that the proxy lets through: no route, no resolver, no interface but lo."""
    inside = await make_with(OPEN)
    targets = [
        ("AF_INET", [ADDRESS, server.port]), ("AF_INET", ["127.0.0.1", server.port]), ("AF_INET", ["1.1.1.1", 443]),
        ("AF_INET", ["169.254.169.254", 80]), ("AF_INET6", ["2606:4700:4700::1111", 443]),
    ]  # fmt: skip
    assert set((await inside.python(BYPASS.format(targets=targets))).split()) == {"refused"}
    assert await inside.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == "lo\n"
    assert server.requests == []


async def test_the_host_is_not_reached_through_the_proxy(make_with: MakeWithNetwork, server: EchoServer) -> None:
    """Straight to the socket too, which code inside may open: it is the proxy that decides."""
    inside = await make_with(OPEN)
    code = """
import socket
for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "169.254.169.254", "2130706433"):
    for path in ("/run/egress/proxy", None):
        s = socket.socket(socket.AF_UNIX) if path else socket.socket()
        s.connect(path or ("127.0.0.1", 3128))
        s.sendall(f"CONNECT {host}:PORT HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
        print(s.recv(100).split()[1].decode())
"""
    assert set((await inside.python(code.replace("PORT", str(server.port)))).split()) <= {"403", "400"}
    assert server.requests == []


async def test_the_socket_cannot_be_replaced(make_with: MakeWithNetwork) -> None:
    inside = await make_with(OPEN)
    seen = await inside.sh("rm -f /run/egress/proxy; touch /run/egress/x; mv /run/egress/proxy /tmp/x; ls /run/egress")
    assert seen.strip().endswith("proxy")
    assert "Read-only" in seen
    code = "import socket\ntry: socket.create_server(('127.0.0.1', 3128))\nexcept OSError as e: print(e.errno == 98)\n"
    assert await inside.python(code) == "True\n"


async def test_the_proxy_is_back_after_its_forwarder_was_killed(make_with: MakeWithNetwork, server: EchoServer) -> None:
    inside = await make_with(LIMITED)
    code = PYTHON.format(url=f"http://{ADDRESS}:{server.port}/")
    assert await inside.python(code) == "hello\n"
    await inside.sh("kill -9 -1")
    assert await inside.python(code) == "hello\n"
    await inside.call("bash", restart=True)
    assert await inside.python(code) == "hello\n"


async def test_large_bodies_arrive_whole(make_with: MakeWithNetwork, server: EchoServer) -> None:
    inside = await make_with(LIMITED)
    code = f"""
import hashlib, os, urllib.request
from concurrent.futures import ThreadPoolExecutor
def one(n):
    body = os.urandom(3_000_000 + n)
    return urllib.request.urlopen("http://{ADDRESS}:{server.port}/", body, timeout=20).read() == body
with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(one, range(8))))
"""
    assert await inside.python(code) == "{True}\n"


async def test_one_sandbox_does_not_have_the_network_of_another(make_with: MakeWithNetwork, server: EchoServer) -> None:
    _, closed, none = await make_with(OPEN), await make_with(Egress("limited")), await make_with(Egress())
    code = PYTHON.format(url=f"http://{ADDRESS}:{server.port}/")
    assert "is not among the hosts" in await closed.python(code)
    assert await none.sh("env | grep -ci proxy; ls /run/egress 2>&1 | grep -c No") == "0\n1\n"
    assert server.requests == []


async def test_public_authorities_are_known_inside(make_with: MakeWithNetwork) -> None:
    inside = await make_with(OPEN)
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 10)"
    if ssl.create_default_context().get_ca_certs():
        assert await inside.python(code) == "True\n"
