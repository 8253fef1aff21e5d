"""What we use of libraries beyond their documented interface, each beside the fault that it works around.

pyproject.toml holds these libraries to a minor version. Raise one, run this file: a test of ours that fails says that
an override no longer works; a test of the library alone that fails says that the fault is gone and the override may go.
"""

import asyncio
import contextlib
import inspect
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

import httpx2
import pytest
import uvicorn
from anthropic import AsyncAnthropic, AsyncStream
from anthropic.lib.bedrock import AsyncAnthropicBedrock
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from nats.aio.transport import TcpTransport
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.bus.jetstream.imports import Client, Msg
from holdfast.bus.jetstream.nats_client import NatsClient
from holdfast.session.http.protocol import REQUEST_HEAD_BYTES, BoundedHttpProtocol
from tests.support.eventually import eventually

C = TypeVar("C", bound=Client)

INFO = b'INFO {"server_id":"x","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}\r\n'


class NatsPeer:
    """The server's side of the NATS protocol, with a say over what is answered and when."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.commands: list[bytes] = []
        self.answers_pings = True
        self.refuses = 0
        """So many of the next connections end in the middle of their handshake."""
        self._writer: asyncio.StreamWriter | None = None
        self._accepted: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted.add(asyncio.create_task(self._serve(reader, writer)))

    async def close(self) -> None:
        if self._writer:
            self._writer.close()
        await asyncio.gather(*self._accepted)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writer = writer
        if self.refuses:
            self.refuses -= 1
            writer.write_eof()
            await reader.read()  # until the client closes its side
        else:
            writer.write(INFO)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                command = line.split(b" ")[0].strip()
                self.commands.append(command)
                if command == b"PUB":
                    await reader.readline()
                if command == b"PING" and self.answers_pings:
                    writer.write(b"PONG\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    def say(self, text: bytes) -> None:
        assert self._writer
        self._writer.write(text)

    def hang_up(self) -> None:
        assert self._writer
        self._writer.close()


@pytest.fixture
async def peer() -> AsyncGenerator[NatsPeer]:
    made = NatsPeer()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await made.close()


async def ignore(*_: object) -> None:
    pass


@contextlib.asynccontextmanager
async def connected(kind: type[C], peer: NatsPeer, **options: Any) -> AsyncGenerator[C]:
    client = kind()
    options = {"error_cb": ignore, "reconnect_time_wait": 0.02, "max_reconnect_attempts": -1, **options}
    await client.connect([f"nats://127.0.0.1:{peer.port}"], **options)
    try:
        yield client
    finally:
        await client.close()


def both(*, library: object, ours: object) -> Any:
    """The library alone, and with our override."""
    return pytest.mark.parametrize(
        ("kind", "expected"), [(Client, library), (NatsClient, ours)], ids=["library", "ours"]
    )


# --- nats-py --------------------------------------------------------------------------------------------------------


@both(library=1, ours=2)
async def test_process_err_reconnects_after_an_error_of_the_server(
    peer: NatsPeer, kind: type[Client], expected: int
) -> None:
    """The library closes for good: agreed for all clients in nats-io/nats-architecture-and-design#282; see also
    nats-io/nats.py#956, which gives the errors types, and nats-io/nats.c#999, the option that we would want."""
    async with connected(kind, peer) as client:
        peer.say(b"-ERR 'Maximum Connections Exceeded'\r\n")

        async def settled() -> bool:
            return client.is_closed or (peer.connections == 2 and client.is_connected)

        await eventually(settled, what="the end of the connection, or the next one")
        assert peer.connections == expected


@both(library=False, ours=True)
async def test_attempt_reconnect_goes_on_after_an_unexpected_error(
    peer: NatsPeer, kind: type[Client], expected: bool
) -> None:
    """nats-io/nats.py#204: an error in a callback ends the task that reconnects, and nobody is told."""
    calls: list[int] = []

    async def fail_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("in a callback")

    async with connected(kind, peer, disconnected_cb=fail_once) as client:
        peer.hang_up()

        async def settled() -> bool:
            task = client._reconnection_task
            return bool(calls) and (client.is_connected or (task is not None and task.done()))

        await eventually(settled, what="the end of the attempts to reconnect")
        assert client.is_connected is expected
        if not expected:
            assert client._reconnection_task
            assert isinstance(client._reconnection_task.exception(), RuntimeError)


@both(library=0, ours=3)
async def test_connect_to_server_closes_the_connection_that_came_to_nothing(
    peer: NatsPeer, kind: type[Client], expected: int
) -> None:
    """The library forgets it: it stays open until the garbage collector finds it. No issue of nats.py was found."""
    tried: list[asyncio.StreamWriter] = []

    async def failed(_: Exception) -> None:
        transport = client._transport
        if isinstance(transport, TcpTransport) and transport._io_writer and transport._io_writer not in tried:
            tried.append(transport._io_writer)

    async with connected(kind, peer, error_cb=failed) as client:
        tried.clear()
        peer.refuses = 3
        peer.hang_up()

        async def settled() -> bool:
            return peer.connections == 5 and client.is_connected

        await eventually(settled, what="the fifth connection")
        refused = tried[-3:]
        assert len(refused) == 3
        assert sum(writer.is_closing() for writer in refused) == expected
        for writer in refused:
            writer.close()


@both(library=0, ours=3)
async def test_process_headers_and_build_message_do_not_end_the_connection(
    peer: NatsPeer, kind: type[Client], expected: int
) -> None:
    """The server checks neither; an exception ends the task that reads. No issue of nats.py was found."""
    heads = {b"a": b"NATS/1.0 \xff\xfe\xfd\r\n\r\n", b"b": b"NATS/1.0", b"\xff": b"NATS/1.0\r\n\r\n"}
    got: list[str] = []

    async def hear(msg: Msg) -> None:
        got.append(msg.subject)

    async with connected(kind, peer) as client:
        sub = await client.subscribe(">", cb=hear)
        await client.flush()
        for subject, head in heads.items():
            peer.say(b"HMSG %s %d %d %d\r\n%s\r\n" % (subject, sub._id, len(head), len(head), head))

        async def settled() -> bool:
            task = client._reading_task
            return len(got) == expected and (expected > 0 or (task is not None and task.done()))

        await eventually(settled, what="the messages, or the end of the task that reads")
    assert got == ["a", "b", "\ufffd"][:expected]


@both(library=[b"PING", b"PUB"], ours=[b"PUB", b"PING"])
async def test_send_ping_comes_after_what_was_published(
    peer: NatsPeer, kind: type[Client], expected: list[bytes]
) -> None:
    """The ping is written past the buffer, so a flush says nothing about a message before it. nats-io/nats.py2#24
    mended the same in the older client; no issue of nats.py was found."""
    async with connected(kind, peer) as client:
        before = len(peer.commands)
        await client.publish("a", b"1")
        await client.flush()
        assert peer.commands[before : before + 2] == expected


@both(library=False, ours=True)
async def test_pongs_of_a_cancelled_flush_do_not_end_the_connection(
    peer: NatsPeer, kind: type[Client], expected: bool
) -> None:
    """nats-io/nats.py#624 is the same fault for another future: set_result on a cancelled one ends a task."""
    heard = asyncio.Event()

    async def hear(_: object) -> None:
        heard.set()

    async with connected(kind, peer) as client:
        await client.subscribe("a", cb=hear)
        await client.flush()
        peer.answers_pings = False
        flushing = asyncio.create_task(client.flush())

        async def pinged() -> bool:
            return peer.commands[-1] == b"PING"

        await eventually(pinged, what="the ping of the flush")
        flushing.cancel()
        await asyncio.wait({flushing})
        peer.say(b"PONG\r\nMSG a 1 2\r\nhi\r\n")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(heard.wait(), 1)
        assert heard.is_set() is expected


async def test_process_msg_calls_who_hears_where_the_message_is_read(peer: NatsPeer) -> None:
    """For speed: the library puts each message into a queue, for a task. Both kinds of subscription get theirs."""
    heard: list[str] = []
    done = asyncio.Event()

    async def later(msg: Any) -> None:
        heard.append(f"later {msg.subject} {msg.data.decode()}")
        done.set()

    def now(got: Any) -> None:
        heard.append(f"now {got.subject} {got.reply} {got.data.decode()} {got.headers}")

    async with connected(NatsClient, peer) as client:
        await client.subscribe("a", cb=later)
        made: Any = await client.hear("b", now)
        await client.flush()
        peer.say(b"MSG a 1 1\r\n0\r\nMSG b 2 r 1\r\n1\r\nHMSG b 2 18 19\r\nNATS/1.0\r\nk: v\r\n\r\n2\r\n")
        await asyncio.wait_for(done.wait(), 5)
        assert heard == ["now b r 1 {}", "now b  2 {'k': 'v'}", "later a 0"]
        peer.hang_up()

        async def again() -> bool:
            return peer.connections == 2 and client.is_connected and peer.commands[-3:].count(b"SUB") == 2

        await eventually(again, what="the subscriptions on the next connection")
        peer.say(b"MSG b 2 1\r\n3\r\n")
        await made.unsubscribe()
        peer.say(b"MSG b 2 1\r\n4\r\nMSG a 1 1\r\n5\r\n")
        done.clear()
        await asyncio.wait_for(done.wait(), 5)
    assert heard[3:] in (["now b  3 {}", "later a 5"], ["later a 5"])
    assert not client._heard_by


HEADERS = b"Nats-Sequence: 7\r\nStatus:  404\r\ntraceparent:00-1-2-03\r\nwithout a colon\r\nName: \xc3\xa9: b\r\n\r\n"


def test_parse_header_lines_reads_what_the_library_reads() -> None:
    """nats-io/nats.py#928 replaced the parser for e-mail; what came looks at each character of each name."""
    assert NatsClient._parse_header_lines(HEADERS) == Client._parse_header_lines(HEADERS)
    assert "_parse_header_lines" in vars(NatsClient)


@pytest.mark.parametrize(("module", "expected"), [("nats", "True"), ("holdfast.bus.jetstream.imports", "False")])
def test_the_import_of_nats_does_not_bring_aiohttp(module: str, expected: str) -> None:
    """nats/aio/transport.py imports aiohttp, if it is installed, for websockets, which we do not use. No issue of
    nats.py was found. What follows can still import it."""
    code = f"import sys, {module}; print('aiohttp' in sys.modules); import aiohttp; aiohttp.ClientSession"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [expected]


# --- uvicorn --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(protocol: type[asyncio.Protocol]) -> AsyncGenerator[int]:
    async def app(_: Any, __: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol, lifespan="off", ws="none", log_config=None))
    with server.capture_signals():
        serving = asyncio.create_task(server._serve())

        async def started() -> bool:
            return server.started

        await eventually(started, what="the start of uvicorn")
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize(
    ("protocol", "is_refused"), [(HttpToolsProtocol, False), (BoundedHttpProtocol, True)], ids=["library", "ours"]
)
async def test_the_head_of_a_request_is_bounded(protocol: type[asyncio.Protocol], is_refused: bool) -> None:
    """Kludex/uvicorn#157, Kludex/uvicorn#1684: httptools has no bound for headers, and uvicorn adds none."""
    async with served(protocol) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(9):  # one piece more than is allowed, and no end
            writer.write(f"X-{number}: {'x' * (REQUEST_HEAD_BYTES // 8)}\r\n".encode())
            await writer.drain()
        answer = b""
        with contextlib.suppress(TimeoutError):
            answer = await asyncio.wait_for(reader.readline(), 1)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400") is is_refused


# --- anthropic ------------------------------------------------------------------------------------------------------


async def test_post_sends_bytes_as_they_are_and_gives_the_raw_response() -> None:
    """`post` is the documented way to paths that the SDK does not know; `content` and a `cast_to` that leaves the
    body to us are in its types, but in no document. There is no issue: nothing is wrong with it."""
    body, seen, rest = b'{"a":  1, "spaces stay": true}', list[bytes](), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.extend((head, await reader.readexactly(len(body))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 10\r\n\r\nfirst")
        await rest.wait()
        writer.write(b"later")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AsyncAnthropic(base_url=f"http://127.0.0.1:{port}", api_key="k", max_retries=0)
    response: Any = await client.post(
        "/v1/messages", cast_to=httpx2.Response, content=body,
        options={"headers": {"content-type": "application/json"}}, stream=True, stream_cls=AsyncStream[Any],
    )  # fmt: skip
    assert isinstance(response, httpx2.Response)
    assert not response.is_stream_consumed
    chunks = response.aiter_bytes()
    assert await anext(chunks) == b"first"
    rest.set()
    assert await anext(chunks) == b"later"
    assert seen[0].startswith(b"POST /v1/messages ")
    assert seen[1] == body
    await response.aclose()
    await client.close()
    server.close()


def test_the_client_for_bedrock_makes_the_decoder_of_its_stream() -> None:
    """The class of the decoder is in a private module; the method gives it to `AsyncStream`. Without botocore it cannot
    be made, so `test_model_clouds.py` reads a stream with it only where the extra is installed."""
    assert list(inspect.signature(AsyncAnthropicBedrock._make_sse_decoder).parameters) == ["self"]
    assert list(inspect.signature(AWSEventStreamDecoder.aiter_bytes).parameters) == ["self", "iterator"]


def test_log_records_of_opentelemetry_have_what_they_are_given() -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({"service.name": "x"}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    provider.get_logger("holdfast").emit(
        timestamp=5, severity_number=SeverityNumber.WARN, severity_text="warning", body="it", attributes={"n": 1}
    )
    (got,) = exporter.get_finished_logs()
    record = got.log_record
    assert (record.timestamp, record.severity_number, record.body) == (5, SeverityNumber.WARN, "it")
    assert dict(record.attributes or {}) == {"n": 1}
    assert got.resource.attributes["service.name"] == "x"
