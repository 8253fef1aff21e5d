"""Endpoints that answer wrongly, endlessly or not at all: each is a failed delivery, bounded in time and in memory."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from holdfast.bus.ids import new_id
from tests.support.created_sessions import create_session
from tests.support.edge import SessionService, envelope
from tests.support.eventually import eventually
from tests.support.newer import newer_record
from tests.support.session_log import SessionLog
from tests.support.webhooks import Receiver, Webhooks, receiver

Pieces = Callable[[], Iterable[bytes]]

OK = b"HTTP/1.1 200 OK\r\n"


def drip() -> Iterator[bytes]:
    yield OK + b"a: "
    for _ in itertools.count():
        time.sleep(0.1)
        yield b"x"


ANSWERS: dict[str, tuple[Pieces, str | None]] = {
    "garbage": (lambda: [b"\x16\x03\x01 no HTTP\r\n\r\n"], "the endpoint did not answer in valid HTTP"),
    "nothing": (list, "the connection was lost"),
    "half a status": (lambda: [b"HTTP/1.1 2"], "the connection was lost"),
    "an endless status line": (lambda: itertools.repeat(b"x" * 65536), "the endpoint did not answer in valid HTTP"),
    "an endless header": (
        lambda: itertools.chain([OK, b"a: "], itertools.repeat(b"x" * 65536)),
        "the endpoint did not answer in valid HTTP",
    ),
    "endless headers": (
        lambda: itertools.chain([OK], itertools.repeat(b"a: b\r\n" * 1000)),
        "the endpoint did not answer in valid HTTP",
    ),
    "a header, byte by byte": (drip, "the endpoint did not answer in time"),
    "an endless body": (
        lambda: itertools.chain([OK + b"content-length: 99999999999\r\n\r\n"], itertools.repeat(b"x" * 65536)),
        None,
    ),
    "a compressed bomb": (
        lambda: [OK + b"content-encoding: gzip\r\ncontent-length: 9\r\n\r\n", b"\x1f\x8b\x08......"],
        None,
    ),
    "continue, then the answer": (lambda: [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"], None),
    "another status than there is": (lambda: [b"HTTP/1.1 999 What\r\n\r\n"], "the endpoint answered 999"),
    "continue, for ever": (
        lambda: itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        "the endpoint did not answer in valid HTTP",
    ),
}


@contextlib.contextmanager
def answering(pieces: Pieces) -> Iterator[str]:
    """The address of a server that answers each request with these bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    for piece in pieces():
                        connection.sendall(piece)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hooks"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ANSWERS)
def test_a_wrong_answer_is_a_failed_delivery(edge: SessionService, webhooks: Webhooks, name: str) -> None:
    pieces, said = ANSWERS[name]
    with answering(pieces) as url:
        made = webhooks.create(url)
        before, began = memory_bytes(edge.pid), time.monotonic()
        tested = webhooks.test(made["id"])
        assert tested["error"] == said
        assert time.monotonic() - began < 8
        assert memory_bytes(edge.pid) - before < 64 * 1024 * 1024


async def test_a_webhook_of_a_newer_version_is_left_to_that_version_and_others_go_on(
    edge: SessionService, webhooks: Webhooks, endpoint: Receiver
) -> None:
    newer = webhooks.create(endpoint.url, metadata={"name": new_id("x")})
    with receiver() as other:
        webhooks.create(other.url)
        async with edge.bus() as bus:
            entry = await bus.kv.get("webhooks", f"default.{newer['id']}")
            assert entry
            assert entry.value
            await newer_record(bus, "webhooks", f"default.{newer['id']}")
            envelope(webhooks.http.get(f"/v1/webhooks/{newer['id']}"), 503, "api_error")
            session = create_session(edge)
            await SessionLog(bus, session).running()

            async def taken() -> bool:
                return other.of(session) == ["session.status_run_started"]

            await eventually(taken, what="the event at the other endpoint", within=15)
            assert endpoint.got == []
            await bus.kv.put("webhooks", f"default.{newer['id']}", entry.value)

            async def delivered() -> bool:
                return endpoint.of(session) == ["session.status_run_started"]

            await eventually(delivered, what="the event at the endpoint of the newer one", within=20)
