"""What one client may take from the edge: streams, descriptors, time, and memory for what it does not read."""

import asyncio
import contextlib
import json
import resource
import socket
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import anthropic
import httpx
import psutil
import pytest
from anthropic import Anthropic

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from tests.support.edge import SessionService, envelope, session_service
from tests.support.event_stream import frames, raw, take
from tests.support.eventually import eventually
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY

MAX_STREAMS = 20
SEND_TIMEOUT_S = 0.5
TIGHT = {
    "HOLDFAST_MAX_STREAMS": str(MAX_STREAMS),
    "HOLDFAST_HEAD_TIMEOUT": "0.5",
    "HOLDFAST_SEND_TIMEOUT": str(SEND_TIMEOUT_S),
    "HOLDFAST_HOSTS": "agents.example.com,two.test",
}


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Generator[SessionService]:
    with session_service(tmp_path_factory.mktemp("edge"), TIGHT) as running:
        yield running


@pytest.fixture(scope="module")
def sync(edge: SessionService) -> Anthropic:
    return edge.client(max_retries=0)


def new_session(sync: Anthropic) -> str:
    agent = sync.beta.agents.create(model="m", name="a").id
    return sync.beta.sessions.create(agent=agent, environment_id=sync.beta.environments.create(name=new_id("e")).id).id


@pytest.fixture
def session(sync: Anthropic) -> str:
    return new_session(sync)


def connect(edge: SessionService, request: str, *, buffer: int = 4096) -> socket.socket:
    """A connection with a small receive buffer that has sent that request."""
    host, port = edge.base_url.removeprefix("http://").split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(20)
    sock.connect((host, int(port)))
    sock.sendall(request.replace("\n", f"\r\nhost: {host}\r\nx-api-key: {edge.key}\r\n", 1).encode() + b"\r\n")
    return sock


def ended(sock: socket.socket) -> bool:
    """Read up to the end; whether it came as an end or a reset, and not by the time limit of the test."""
    try:
        while sock.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    return True


# --- hosts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "agents.example.com.evil.example", "x", "127.0.0.1.evil.example:1"])
def test_a_name_that_is_none_of_the_service_is_refused_and_told_how_to_add_it(edge: SessionService, host: str) -> None:
    for path in ("/v1/agents", "/healthz", "/nothing"):
        answer = httpx.get(edge.base_url + path, headers={"host": host, "x-api-key": edge.key})
        message = envelope(answer, 421, "invalid_request_error")
        assert host.partition(":")[0] in message
        assert "HOLDFAST_HOSTS" in message


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1234", "a.localhost", "127.0.0.1", "10.1.2.3:8700", "[::1]:8700", "[2001:db8::1]",
     "agents.example.com", "Agents.Example.com.:443", "two.test"],
)  # fmt: skip
def test_loopback_addresses_and_configured_names_are_served(edge: SessionService, host: str) -> None:
    assert httpx.get(edge.base_url + "/v1/agents", headers={"host": host, "x-api-key": edge.key}).status_code == 200


def test_every_name_is_served_if_so_configured(tmp_path: Path) -> None:
    with session_service(tmp_path, {"HOLDFAST_HOSTS": "*"}) as own:
        assert httpx.get(own.base_url + "/healthz", headers={"host": "any.example"}).status_code == 200


# --- streams and descriptors ---------------------------------------------------------------------------------------


async def test_one_stream_too_many_is_429_and_there_is_room_again_when_one_ends(
    edge: SessionService, session: str
) -> None:
    async with edge.async_client(max_retries=0) as client, contextlib.AsyncExitStack() as opened:
        streams = [
            await opened.enter_async_context(await client.beta.sessions.events.stream(session))
            for _ in range(MAX_STREAMS)
        ]
        with pytest.raises(anthropic.RateLimitError, match="event streams are open") as refused:
            await client.beta.sessions.events.stream(session)
        assert refused.value.response.headers["retry-after"]
        body = refused.value.body
        assert isinstance(body, dict)
        assert body["error"]["details"] == {"error_code": "too_many_streams"}
        assert (await client.beta.sessions.retrieve(session)).id == session, "other requests pass"
        for wrong in ("sesn_a0_nothing", "nothing"):
            with pytest.raises((anthropic.NotFoundError, anthropic.RateLimitError)):
                await client.beta.sessions.events.stream(wrong)
        await streams[0].close()

        async def opens() -> bool:
            try:
                await opened.enter_async_context(await client.beta.sessions.events.stream(session))
            except anthropic.RateLimitError:
                return False
            return True

        await eventually(opens)
    async with edge.async_client(max_retries=0) as client:
        for _ in range(MAX_STREAMS + 5):  # a stream that does not open takes no place
            with pytest.raises(anthropic.NotFoundError):
                await client.beta.sessions.events.stream("sesn_a0_nothing")
            with pytest.raises(anthropic.BadRequestError):
                await client.beta.sessions.events.stream(session, extra_query={"after": "9999999-0"})


async def test_a_refused_stream_that_is_opened_again_still_begins_with_what_was_sent(
    edge: SessionService, sync: Anthropic, session: str
) -> None:
    other = new_session(sync)
    async with (
        edge.bus() as bus,
        edge.async_client(max_retries=0) as client,
        contextlib.AsyncExitStack() as opened,
    ):
        streams = [
            await opened.enter_async_context(await client.beta.sessions.events.stream(other))
            for _ in range(MAX_STREAMS)
        ]
        (sent,) = (await client.beta.sessions.events.send(session, events=[SAY])).data or []  # type: ignore[list-item]
        assert await SessionLog(bus, session).takes(1) == [sent.id]
        with pytest.raises(anthropic.RateLimitError):
            await client.beta.sessions.events.stream(session)
        await streams[0].close()

        async def opens() -> bool:
            try:
                stream = await opened.enter_async_context(await client.beta.sessions.events.stream(session))
            except anthropic.RateLimitError:
                return False
            (first,) = await take(stream.__aiter__(), 1)
            assert first.id == sent.id
            return True

        await eventually(opens)


def test_the_service_may_have_as_many_descriptors_as_the_system_allows(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        with session_service(tmp_path) as own:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert psutil.Process(own.pid).rlimit(psutil.RLIMIT_NOFILE)[0] > 1024
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- time ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"GET /healthz HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"])
def test_a_head_that_does_not_come_is_cut_off(edge: SessionService, start: bytes) -> None:
    host, port = edge.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(start)
        assert b"took too long" in connection.recv(65536)
        assert connection.recv(1) == b""


@contextlib.asynccontextmanager
async def written(edge: SessionService, session: str, events: int, chars: int) -> AsyncGenerator[SessionLog]:
    """The log of the session with that many events behind what it had."""
    async with edge.bus() as bus:
        log = SessionLog(bus, session)
        for number in range(events):
            await log.says(f"{number} ".ljust(chars, "x"))
        yield log


@pytest.mark.parametrize("query", ["events/stream?after=0-0", "events", "events?order=desc"])
async def test_a_client_that_does_not_read_is_disconnected(edge: SessionService, session: str, query: str) -> None:
    async with written(edge, session, 40, 400_000):
        before = edge.log.read_text().count("it does not read")
        with connect(edge, f"GET /v1/sessions/{session}/{query} HTTP/1.1\n") as sock:

            async def told() -> bool:
                return edge.log.read_text().count("it does not read") > before

            await eventually(told, within=30)
            assert await asyncio.to_thread(ended, sock)
        async with edge.async_client() as client:
            assert len([e async for e in client.beta.sessions.events.list(session)]) == 40


async def test_a_client_that_reads_slowly_is_served_to_the_end(edge: SessionService, session: str) -> None:
    """It takes several times as long as a client may be silent."""
    request = f"GET /v1/sessions/{session}/events/stream?after=0-0 HTTP/1.1\n"
    async with written(edge, session, 8, 400_000) as log:
        with connect(edge, request, buffer=32_768) as sock:
            received = bytearray()
            while received.count(b"event: agent.message") < 8:
                received += await asyncio.to_thread(sock.recv, 65_536)
                await asyncio.sleep(SEND_TIMEOUT_S / 10)  # the pace of this client
            said = await log.says("more")
            while said.encode() not in received:
                received += await asyncio.to_thread(sock.recv, 65536)


# --- memory --------------------------------------------------------------------------------------------------------


async def test_readers_that_stall_take_bounded_memory_and_miss_nothing(tmp_path: Path) -> None:
    """20 readers, and 60 MB of large and small events for each of them."""
    with session_service(tmp_path, {"HOLDFAST_SEND_TIMEOUT": "600"}) as own, own.client() as sync:
        session = new_session(sync)
        async with contextlib.AsyncExitStack() as opened, own.bus() as bus:
            answers = [await opened.enter_async_context(raw(own, session)) for _ in range(20)]
            before, peak = rss(own), 0
            log = SessionLog(bus, session)
            said: list[str] = []
            for number in range(150):
                texts = ["x" * 400_000, *("y" * 1000 for _ in range(5))]
                events = [ev.AgentMessage(id=new_id("sevt"), content=[{"type": "text", "text": t}]) for t in texts]
                await log.write(*events)
                said += [event.id for event in events]
                peak = max(peak, rss(own) if number % 5 == 0 else 0)
            assert peak - before < 120_000_000, f"{before:,} before, {peak:,} then"
            for answer in answers[:3]:
                found = frames(answer)
                assert [f.data["id"] for f in await take(found, len(said))] == said
                fresh = await log.says("more")
                said.append(fresh)
                assert [f.data["id"] for f in await take(found, 1)] == [fresh]
        assert json.loads(own.log.read_text().splitlines()[-1])["level"] != "error"


def rss(edge: SessionService) -> int:
    return psutil.Process(edge.pid).memory_info().rss
