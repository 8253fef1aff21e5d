"""A sandbox has no network: no interface but loopback, no route, no name resolution, only the usual socket families."""

import asyncio

from tests.escape.conftest import Inside, MakeSandbox

CONNECT = """
import errno, socket
for family, address in {targets!r}:
    try:
        with socket.socket(getattr(socket, family), socket.SOCK_STREAM) as s:
            s.settimeout(3)
            s.connect(tuple(address) if isinstance(address, list) else address)
            print("connected", address)
    except OSError as e:
        print(errno.errorcode.get(e.errno, type(e).__name__))
"""


async def test_metadata_and_public_addresses_are_unreachable(inside: Inside) -> None:
    targets = [
        ("AF_INET", ["169.254.169.254", 80]), ("AF_INET", ["1.1.1.1", 53]), ("AF_INET", ["10.0.0.1", 80]),
        ("AF_INET6", ["fd00:ec2::254", 80]), ("AF_INET6", ["2606:4700:4700::1111", 53]),
    ]  # fmt: skip
    seen = await inside.python(CONNECT.format(targets=targets))
    assert set(seen.split()) <= {"ENETUNREACH", "EADDRNOTAVAIL"}


async def test_servers_of_the_host_cannot_be_reached_over_loopback(inside: Inside) -> None:
    """Connections to a server of the host on 127.0.0.1, and to one on an abstract socket, are refused."""
    heard = asyncio.Event()

    async def hear(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        writer.close()

    server = await asyncio.start_server(hear, "0.0.0.0", 0)
    name = f"\0holdfast-{id(server)}"
    abstract = await asyncio.start_unix_server(hear, name)
    port = server.sockets[0].getsockname()[1]
    targets = [("AF_INET", ["127.0.0.1", port]), ("AF_INET", ["0.0.0.0", port]), ("AF_UNIX", name)]
    seen = await inside.python(CONNECT.format(targets=targets))
    server.close()
    abstract.close()
    assert seen.split() == ["ECONNREFUSED"] * 3
    assert not heard.is_set()


async def test_the_loopback_of_the_sandbox_works(inside: Inside) -> None:
    code = (
        "import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(s.getsockname())\nc.send(b'x')\nprint(s.accept()[0].recv(1))\n"
    )
    assert await inside.python(code) == "b'x'\n"


async def test_there_is_no_interface_but_lo(make: MakeSandbox) -> None:
    one, other = await make(), await make()
    assert await one.sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == "lo\n"
    assert await one.sh("readlink /proc/self/ns/net") != await other.sh("readlink /proc/self/ns/net")


async def test_other_socket_families_than_the_usual_ones_are_refused(inside: Inside) -> None:
    code = """
import errno, socket
families = {"vsock": (40, 1, 0), "vsock dgram": (40, 2, 0), "alg": (38, 5, 0), "packet": (17, 3, 0),
    "packet dgram": (17, 2, 0), "raw": (2, 3, 255), "icmp": (2, 2, 1), "raw6": (10, 3, 58), "bluetooth": (31, 3, 0),
    "can": (29, 3, 1), "key": (15, 3, 2), "netlink audit": (16, 3, 9), "netlink netfilter": (16, 3, 12),
    "xdp": (44, 3, 0), "rds": (21, 5, 0), "tipc": (30, 1, 0), "qipcrtr": (42, 2, 0),
    "smc": (43, 1, 0), "mctp": (45, 2, 0),
    "sctp": (2, 1, 132), "mptcp": (2, 1, 262), "packet by inet": (2, 10, 3)}
for name, triple in families.items():
    try:
        socket.socket(*triple); print(name, "OPEN")
    except OSError as e:
        print(name, errno.errorcode[e.errno])
socket.socket(socket.AF_UNIX); socket.socket(socket.AF_INET); socket.socket(socket.AF_INET6)
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); socket.socketpair()
print("usual ones ok")
"""
    lines = (await inside.python(code)).strip().split("\n")
    assert lines[-1] == "usual ones ok"
    assert {line.split()[-1] for line in lines[:-1]} <= {"EAFNOSUPPORT", "EPERM"}, lines


async def test_no_name_is_resolved(inside: Inside) -> None:
    code = (
        "import socket\ntry: print(socket.getaddrinfo('secret.example.com', 80))\n"
        "except socket.gaierror as e: print('gaierror', e.errno)\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try: s.sendto(b'x', ('8.8.8.8', 53)); print('sent')\nexcept OSError as e: print(e.errno)\n"
    )
    seen = await inside.python(code)
    assert "gaierror" in seen
    assert "sent" not in seen


async def test_there_is_no_route_without_a_proxy(inside: Inside) -> None:
    seen = await inside.sh(
        "env -u http_proxy -u https_proxy python3 -c"
        " \"import urllib.request as u; u.urlopen('http://1.1.1.1', timeout=3)\""
        " 2>&1 | tail -1; cat /proc/net/route | wc -l; cat /proc/net/tcp | wc -l"
    )
    assert "unreachable" in seen
    assert seen.split()[-2:] == ["1", "1"]
