"""What the NATS library would never send, from a publisher that speaks the protocol itself: it is dead, and all else
goes on."""

# ruff: noqa: ASYNC212  the service is another process, so a request that blocks holds nothing up

import asyncio
import contextlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from anthropic import Anthropic
from nats.aio.client import Client

from tests.integration.tasks.test_tasks import publish
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.tasks import dead, died, messages_of, started

BODY = b'{"what": "it"}'


async def say(edge: SessionService, subject: bytes, head: bytes, body: bytes = BODY) -> None:
    """Publish with those bytes as the headers, and wait until the server has read them."""
    address = urlsplit(edge.nats.url)
    assert address.hostname
    assert address.port
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b'CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n')
    writer.write(b"HPUB %s %d %d\r\n%s%s\r\nPING\r\n" % (subject, len(head), len(head) + len(body), head, body))
    async with asyncio.timeout(10):
        while not (line := await reader.readline()).startswith(b"PONG"):
            assert line.startswith((b"INFO", b"PING")), line
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def one_goes_through(publisher: Client, sync: Anthropic, bind: Any, kind: str) -> None:
    bind(kind)
    await publish(publisher, kind, {"what": "this"})
    (session,) = await started(sync, kind)
    assert messages_of(sync, session.id) == ["Do this."]


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("beat", b"NATS/1.0\r\nStatus: 100\r\nDescription: Idle Heartbeat\r\n\r\n"),
        ("ended", b"NATS/1.0\r\nStatus: 408\r\nNats-Pending-Messages: x\r\n\r\n"),
        ("broken", b"NATS/1.0\r\nStatus: 500\r\n\r\n"),
        ("inline", b"NATS/1.0 409 Consumer Deleted\r\n\r\n"),
        ("binary", b"NATS/1.0 \xff\xfe\xfd \xff\r\nA: b\r\n\r\n"),
        ("short", b"NATS/1.0"),
        ("names", b"NATS/1.0\r\na@b(c): d\r\n\xff: e\r\n: f\r\n\r\n"),
        ("full", b"NATS/1.0\r\nX: " + b"x" * 65_000 + b"\r\n\r\n"),
    ],
)
async def test_headers_that_no_library_sends_harm_nobody(  # noqa: PLR0917  fixtures and parameters
    edge: SessionService, publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any, kind: str, head: bytes
) -> None:
    """Each comes without a binding first, so that it is kept as a dead letter, and is then sent again."""
    kind = f"hostile_{kind}"
    await say(edge, b"task.default." + kind.encode(), head)
    (task,) = await died(http, kind)
    assert task["reason"] == ("malformed" if kind == "hostile_full" else "unbound")
    await one_goes_through(publisher, sync, bind, f"after_{kind}")
    assert [one["id"] for one in await died(http, kind)] == [task["id"]], "a letter hides others"
    bind(kind)
    assert http.post(f"/v1/tasks/{task['id']}/resend").status_code == 200
    (session,) = await started(sync, kind)
    assert messages_of(sync, session.id) == ["Do it."]


@pytest.mark.parametrize("token", [b"\xff\xfe", b"a\x0bb", b"a\x0cb", "ä".encode(), b"\x01", b"x" * 300])
async def test_subjects_that_no_library_sends_harm_nobody(  # noqa: PLR0917  fixtures and parameters
    edge: SessionService, publisher: Client, sync: Anthropic, http: httpx.Client, bind: Any, token: bytes
) -> None:
    async def letters() -> int:
        return len(await asyncio.to_thread(dead, http, "_invalid"))

    before = await letters()
    await say(edge, b"task.default." + token, b"NATS/1.0\r\n\r\n")

    async def one_more() -> bool:
        return await letters() == before + 1

    await eventually(one_more, what="a dead letter", within=20)
    await one_goes_through(publisher, sync, bind, f"beside_{token.hex()[:20]}")
