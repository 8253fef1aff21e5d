"""What each NATS identity may do, tried on a real server with deploy/nats/permissions.conf."""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from holdfast.bus import subjects
from holdfast.bus.api import Delivery
from holdfast.bus.commits import commit
from holdfast.bus.events import SessionStatusRunning
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import CallResult, Nudge
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.bus.streams import BLOB_THRESHOLD_BYTES
from holdfast.bus.tools import SANDBOX
from holdfast.cli.embedded.layout import NATS_USERS
from holdfast.cli.embedded.packaged_files import packaged
from tests.support.eventually import eventually
from tests.support.servers import NatsServer

LAST = "refused.to.everyone"
QUOTED = re.compile(r'"([^"]+)"')

# Who may publish what; nobody else may, but for admin what is below $JS.API.
PUBLISH = {
    "ev.a0.default.sesn_a0_x": {"session", "harness"},
    "ev.a1.default.sesn_a1_x": set[str](),
    "in.a0.default.sesn_a0_x": {"session", "harness", "admin"},
    "in.a1.default.sesn_a1_x": set[str](),
    "res.a0.default.sesn_a0_x": {"sandbox"},
    "res.a1.default.sesn_a1_x": set[str](),
    "live.a0.default.sesn_a0_x": set[str](),
    "arrived.in.a0.default.sesn_a0_x": set[str](),
    "arrived.res.a0.default.sesn_a0_x": set[str](),
    "delta.a0.default.sesn_a0_x": {"harness"},
    "delta.a1.default.sesn_a1_x": set[str](),
    "out.a0.default.sesn_a0_x": {"sandbox"},
    "cmd.hand.a0.provision.sandbox": {"harness"},
    "cmd.hand.a0.w.w1.exec": {"harness"},
    "cmd.hand.a0.w.w1.cancel": {"harness"},
    "cmd.hand.a0.w.w1.provision": {"harness"},
    "cmd.hand.a1.w.w1.exec": set[str](),
    "cmd.hand.a0.release": {"session"},
    "vault.req.admin": {"session"},
    "vault.req.key": {"session"},
    "vault.req.mcp": set[str](),
    "$KV.keys.x": {"session"},
    "$KV.agents.x": {"session"},
    "$KV.envs.x": {"session"},
    "$KV.hands.w.a0.x": {"sandbox"},
    "$KV.hands.s.a0.default.sesn_a0_x.sandbox": {"sandbox"},
    "$KV.hands.w.a1.x": set[str](),
    "$KV.snap.a0.default.sesn_a0_x": {"harness"},
    "$KV.parked.a0.default.sesn_a0_x.e.1": {"harness", "admin"},
    "$KV.parked.a1.default.sesn_a1_x.e.1": set[str](),
    "$KV.snap.a1.default.sesn_a1_x": set[str](),
    "$O.blobs.C.x.0": {"session", "harness", "sandbox"},
    "$JS.ACK.INBOX_a0.harness.1.1.1.1.1": {"harness", "session"},
    "$JS.ACK.INBOX_a1.harness.1.1.1.1.1": set[str](),
    "cmd.harness.a0.harness-1.ping": {"session"},
    "cmd.harness.a1.harness-1.ping": set[str](),
    "$KV.hands.r.a0.harness-1": {"session"},
    "$JS.API.CONSUMER.MSG.NEXT.INBOX_a0.harness": {"harness", "admin"},
    "$JS.API.DIRECT.GET.LOG_a0": {"session", "harness", "admin"},
    "$JS.API.STREAM.MSG.GET.LOG_a0": {"session", "harness", "admin"},
    "$JS.API.DIRECT.GET.LOG_a0.ev.a0.default.x": {"session", "harness", "sandbox", "admin"},
    "$JS.API.DIRECT.GET.LOG_a1.ev.a1.default.x": {"admin"},
    "$JS.API.DIRECT.GET.KV_keys": {"session", "admin"},
    "$JS.API.STREAM.MSG.GET.KV_keys": {"session", "admin"},
    "$JS.API.STREAM.MSG.GET.INBOX_a0": {"session", "harness", "admin"},
    "$JS.API.STREAM.INFO.INBOX_a0": {"session", "harness", "sandbox", "admin"},
    "$JS.API.STREAM.CREATE.MINE": {"admin"},
    "$JS.API.STREAM.UPDATE.LOG_a0": {"admin"},
    "$JS.API.STREAM.DELETE.NONE": {"admin"},
    "$JS.API.STREAM.PURGE.NONE": {"admin"},
    "$JS.API.STREAM.MSG.DELETE.LOG_a0": {"admin"},
    "$JS.API.STREAM.LIST": {"admin"},
    "$JS.API.STREAM.NAMES": {"admin"},
    "$JS.API.CONSUMER.CREATE.LOG_a0.mine.ev.>": {"admin"},
    "$JS.API.CONSUMER.DURABLE.CREATE.INBOX_a0.mine": {"admin"},
    "$JS.API.CONSUMER.DELETE.NONE.harness": {"admin"},
    "$JS.API.CONSUMER.MSG.NEXT.INBOX_a0.mine": {"admin"},
    "$SRV.STATS": set[str](),
    "$SYS.REQ.SERVER.PING": set[str](),
    "_INBOX_session.x": set[str](),
    "_INBOX.x": set[str](),
    "anything": set[str](),
}

SUBSCRIBE = {
    ("live.a0.>", ""): {"session"},
    ("live.>", ""): set[str](),
    ("delta.a0.>", ""): {"session"},
    ("out.a0.>", ""): {"session"},
    ("arrived.*.a0.>", ""): {"harness"},
    ("arrived.>", ""): set[str](),
    ("kv.keys.>", ""): {"session"},
    ("kv.hands.>", ""): {"sandbox"},
    ("kv.>", ""): set[str](),
    ("ev.a0.>", ""): set[str](),
    ("in.a0.>", ""): set[str](),
    ("res.a0.>", ""): set[str](),
    ("cmd.hand.a0.provision.sandbox", "sandbox"): {"sandbox"},
    ("cmd.hand.a0.provision.sandbox", ""): set[str](),
    ("cmd.hand.a0.w.w1.exec", ""): {"sandbox"},
    ("cmd.hand.a0.release", ""): {"sandbox"},
    ("vault.req.admin", "vault"): {"vault"},
    ("vault.req.admin", ""): set[str](),
    ("vault.>", ""): set[str](),
    ("$JS.API.>", ""): set[str](),
    ("$KV.>", ""): set[str](),
    ("_INBOX.>", ""): set[str](),
    ("_INBOX_session.x", ""): {"session"},
    ("_INBOX_harness.x", ""): {"harness"},
    ("_INBOX_sandbox.x", ""): {"sandbox"},
    ("_INBOX_vault.x", ""): {"vault"},
    ("_INBOX_admin.x", ""): {"admin"},
    (">", ""): set[str](),
}


@contextlib.contextmanager
def provisioned(store: Path) -> Iterator[NatsServer]:
    """A server with the permissions of the repository, provisioned by its administrator."""
    passwords = "\n".join(f'HOLDFAST_NATS_{user.upper()}_PASSWORD = "{user}-password"' for user in NATS_USERS)
    made = NatsServer(store, config=f"{passwords}\n{packaged('permissions.conf', 'nats')}")

    made.start_now()
    try:
        login = made.store / "admin.json"
        login.write_text('{"user": "admin", "password": "admin-password"}')
        environ = {"HOLDFAST_NATS_URL": made.url, "HOLDFAST_NATS_CREDENTIALS": str(login)}
        command = [sys.executable, "-m", "holdfast.bus.jetstream.provision"]
        subprocess.run(command, env=environ, check=True, capture_output=True, timeout=30)
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """For what leaves rubbish behind."""
    with provisioned(tmp_path_factory.mktemp("tried")) as made:
        yield made


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[NatsServer]:
    with provisioned(tmp_path / "nats") as made:
        yield made


async def open_link(server: NatsServer, user: str) -> JetStreamClient:
    link = JetStreamClient()
    await link.open([server.url], name=user, login=(user, f"{user}-password"))
    return link


class Raw:
    """A plain connection that knows what it was refused; the library tells it in lower case."""

    def __init__(self, client: Client, refused: list[str]) -> None:
        self.client = client
        self._refused = refused

    async def refused(self) -> set[str]:
        """The subjects refused until now. Refusals come in order, so the last is waited for."""
        await self.client.publish(LAST, b"")
        await self.client.flush()

        async def last() -> bool:
            return any(LAST in text for text in self._refused)

        await eventually(last, what="the last refusal")
        return {QUOTED.findall(text)[0] for text in self._refused}


@contextlib.asynccontextmanager
async def raw(server: NatsServer, user: str) -> AsyncIterator[Raw]:
    refused: list[str] = []

    async def on_error(exc: Exception) -> None:
        refused.append(str(exc))

    client = await nats.connect(
        server.url, user=user, password=f"{user}-password", inbox_prefix=f"_INBOX_{user}".encode(), error_cb=on_error
    )
    try:
        yield Raw(client, refused)
    finally:
        await client.close()


@pytest.mark.parametrize("user", NATS_USERS)
async def test_what_an_identity_may_publish(server: NatsServer, user: str) -> None:
    async with raw(server, user) as connection:
        for subject in PUBLISH:
            await connection.client.publish(subject, b"{")  # not JSON: the server does nothing with it
        refused = await connection.refused()
    allowed = {subject for subject in PUBLISH if subject.lower() not in refused}
    assert allowed == {subject for subject, users in PUBLISH.items() if user in users}


@pytest.mark.parametrize("user", NATS_USERS)
async def test_what_an_identity_may_hear(server: NatsServer, user: str) -> None:
    allowed: set[tuple[str, str]] = set()
    for subject, queue in SUBSCRIBE:
        async with raw(server, user) as connection:
            await connection.client.subscribe(subject, queue=queue)
            if subject.lower() not in await connection.refused():
                allowed.add((subject, queue))
    assert allowed == {place for place, users in SUBSCRIBE.items() if user in users}


@pytest.mark.parametrize("login", ["{}", '{"user":"session","pass":"wrong"}', '{"user":"nobody","pass":"x"}'])
async def test_nobody_gets_in_without_the_password(server: NatsServer, login: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"-ERR 'Authorization Violation")
    writer.close()
    await writer.wait_closed()


@contextlib.asynccontextmanager
async def as_user(server: NatsServer, user: str) -> AsyncIterator[NatsBus]:
    bus = NatsBus(await open_link(server, user))
    try:
        yield bus
    finally:
        await bus.close()


async def test_each_service_can_do_its_work(clean: NatsServer) -> None:
    async with (
        as_user(clean, "session") as session,
        as_user(clean, "harness") as harness,
        as_user(clean, "sandbox") as sandbox,
        as_user(clean, "vault") as vault,
    ):
        async with asyncio.timeout(30):
            await drive(session, harness, sandbox)
            await call(session, harness, sandbox, vault)
            await buckets(session, harness, sandbox)
    assert "Violation" not in (clean.store / "nats.log").read_text()


async def drive(session: NatsBus, harness: NatsBus, sandbox: NatsBus) -> None:
    """A session is made, an input arrives with a large body, is taken, and everybody sees what they must."""
    key = Key("default", new_session_id())
    first = commit(None, [SessionStatusRunning(id=new_id("sevt"))], by="session", new_id=new_id, now=1)
    seq = await session.log.append(key, first, 0)
    tail = session.log.tail(key, seq)
    assert await anext(tail) is None
    large = [{"type": "text", "text": "x" * (2 * BLOB_THRESHOLD_BYTES)}]
    await session.inbox.put(key, Nudge(id=new_id("ndg")))
    await sandbox.inbox.put(key, CallResult(id=new_id("sevt"), generation="g", content=large))

    arrived: list[int] = []
    listening = await harness.inbox.on_arrival(key, lambda waiting: arrived.append(waiting.seq), lambda: None)
    stop = asyncio.Event()
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        if delivery.key == key:
            await delivery.in_progress()
            seen.append(delivery.seq)
        await delivery.ack()
        if len(seen) == 3:
            stop.set()

    consuming = asyncio.create_task(harness.inbox.consume(FIRST_CELL, handle, stop, limit=10))
    assert await session.inbox.stream_epoch(FIRST_CELL) == await harness.inbox.stream_epoch(FIRST_CELL)
    await harness.inbox.put(key, Nudge(id=new_id("ndg")))
    await consuming
    await listening.close()
    assert await harness.inbox.pending(key) == []
    assert await session.inbox.pending(key) == []

    head = await harness.log.head(key, leader=True)
    assert head
    assert head.seq == seq
    second = commit(head, [SessionStatusRunning(id=new_id("sevt"))], by="harness", new_id=new_id, now=2)
    await harness.log.append(key, second, seq)
    stored = await anext(tail)
    while stored is None:
        stored = await anext(tail)
    assert stored.commit == second
    for bus in (session, harness):
        assert len(await bus.log.read(key, leader=True)) == 2
        assert [len(page) async for page in bus.log.pages(key)] == [2]
    found = await sandbox.log.head(key)
    assert found
    assert replace(found.commit, head=second.head) == second


async def call(session: NatsBus, harness: NatsBus, sandbox: NatsBus, vault: NatsBus) -> None:
    """Requests and their answers."""

    async def echo(data: bytes) -> bytes:
        return data

    served = [
        await sandbox.core.serve(subjects.provision(FIRST_CELL, SANDBOX), echo, queue=SANDBOX),
        await sandbox.core.serve(subjects.execute(FIRST_CELL, "w1"), echo),
        await sandbox.core.serve(subjects.cancel(FIRST_CELL, "w1"), echo),
        await sandbox.core.serve(subjects.release(FIRST_CELL), echo),
        await vault.core.serve(subjects.VAULT_ADMIN, echo, queue="vault"),
        await vault.core.serve(subjects.VAULT_KEY, echo, queue="vault"),
    ]
    for subject in (
        subjects.provision(FIRST_CELL, SANDBOX),
        subjects.execute(FIRST_CELL, "w1"),
        subjects.cancel(FIRST_CELL, "w1"),
    ):
        assert await harness.core.request(subject, b"1", timeout=5) == b"1"
    for subject in (subjects.release(FIRST_CELL), subjects.VAULT_ADMIN, subjects.VAULT_KEY):
        assert await session.core.request(subject, b"2", timeout=5) == b"2"
    for one in served:
        await one.close()

    key = Key("default", new_session_id())
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(message: object) -> None:
        heard.put_nowait(message.data)  # type: ignore[attr-defined]

    listening = await session.core.subscribe(subjects.delta(key), hear)
    await harness.core.publish(subjects.delta(key), b"piece")
    assert await heard.get() == b"piece"
    await listening.close()
    listening = await session.core.subscribe(subjects.output(key), hear)
    await sandbox.core.publish(subjects.output(key), b"printed")
    assert await heard.get() == b"printed"
    await listening.close()


async def buckets(session: NatsBus, harness: NatsBus, sandbox: NatsBus) -> None:
    for bus, bucket in ((session, "agents"), (session, "envs"), (session, "keys"), (sandbox, "hands")):
        one, other = ("w.a0.b", "w.a0.c") if bucket == "hands" else ("a.b", "c")
        watch = bus.kv.watch(bucket)
        assert await anext(watch) is None
        revision = await bus.kv.create(bucket, one, b"1")
        await bus.kv.update(bucket, one, b"2", revision)
        await bus.kv.put(bucket, other, b"3", ttl=60)
        entry = await bus.kv.get(bucket, one)
        assert entry
        assert entry.value == b"2"
        assert len(await bus.kv.list(bucket)) == 2
        await bus.kv.delete(bucket, one)
        changed = await anext(watch)
        assert changed
        assert changed.key == one
        await watch.aclose()  # type: ignore[attr-defined]
    await harness.kv.put("snap", "a0.default.x", b"1")
    assert await harness.kv.get("snap", "a0.default.x", leader=False)
