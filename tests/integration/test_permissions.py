"""What each NATS identity may do, tried on a real server with deploy/nats/permissions.conf, and with two cells."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from nats.errors import Error as NatsError

from holdfast.bus import subjects
from holdfast.bus.api import Delivery
from holdfast.bus.commits import commit
from holdfast.bus.events import SessionStatusRunning
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import CallResult, Nudge
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.connection import RawMessage
from holdfast.bus.jetstream.consumer import StreamDelivery
from holdfast.bus.jetstream.permissions import permissions, users
from holdfast.bus.streams import BLOB_THRESHOLD_BYTES
from holdfast.bus.tools import SANDBOX
from holdfast.cli.embedded.layout import NATS_USERS
from holdfast.cli.embedded.packaged_files import packaged
from tests.support.eventually import eventually
from tests.support.nats_rights import PUBLISH, SUBSCRIBE
from tests.support.nats_users import LAST, as_user, provisioned, raw
from tests.support.servers import NatsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """For what leaves rubbish behind."""
    with provisioned(tmp_path_factory.mktemp("tried")) as made:
        yield made


@pytest.fixture
def clean(tmp_path: Path) -> Iterator[NatsServer]:
    with provisioned(tmp_path / "nats") as made:
        yield made


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


def of_other_cell(text: str) -> str:
    return text.replace("a0", "a1")


def allowed_in_two_cells() -> tuple[dict[str, set[str]], dict[tuple[str, str], set[str]]]:
    """Who may publish and hear what with the cells a0 and a1: each cell has its harness and its sandbox."""

    def theirs(names: set[str]) -> set[str]:
        return {f"{name}_a1" if name in ("harness", "sandbox") else name for name in names}

    publish, subscribe = dict[str, set[str]](), dict[tuple[str, str], set[str]]()
    for subject, names in PUBLISH.items():
        if "a1" not in subject:
            both = names if "a0" in subject else names | theirs(names)
            publish[subject] = both
            if "a0" in subject:
                publish[of_other_cell(subject)] = theirs(names)
    for (subject, queue), names in SUBSCRIBE.items():
        if "a0" in subject:
            subscribe[subject, queue] = names
            subscribe[of_other_cell(subject), queue] = theirs(names)
    for user in ("harness_a1", "sandbox_a1"):
        subscribe[f"_INBOX_{user}.x", ""] = {user}
    return publish, subscribe


@pytest.fixture(scope="module")
def two_cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with provisioned(tmp_path_factory.mktemp("two-cells"), ["a0", "a1"]) as made:
        yield made


@pytest.mark.parametrize("user", users(["a0", "a1"]))
async def test_an_identity_of_one_cell_may_do_nothing_in_the_other(two_cells: NatsServer, user: str) -> None:
    publish, subscribe = allowed_in_two_cells()
    async with raw(two_cells, user) as connection:
        for subject in publish:
            await connection.client.publish(subject, b"{")
        refused = await connection.refused()
    assert {s for s in publish if s.lower() not in refused} == {s for s, names in publish.items() if user in names}
    heard: set[tuple[str, str]] = set()
    for subject, queue in subscribe:
        async with raw(two_cells, user) as connection:
            await connection.client.subscribe(subject, queue=queue)
            if subject.lower() not in await connection.refused():
                heard.add((subject, queue))
    assert heard == {place for place, names in subscribe.items() if user in names}


async def test_each_service_can_do_its_work_in_a_further_cell(tmp_path: Path) -> None:
    with provisioned(tmp_path / "nats", ["a0", "a1"]) as server:
        async with (
            as_user(server, "session") as session,
            as_user(server, "harness_a1") as harness,
            as_user(server, "sandbox_a1") as sandbox,
            as_user(server, "vault") as vault,
        ):
            async with asyncio.timeout(30):
                await drive(session, harness, sandbox, "a1")
                await call(session, harness, sandbox, vault, "a1")
                await buckets(session, harness, sandbox, "a1")
        assert "Violation" not in (server.store / "nats.log").read_text()


def test_the_file_of_the_repository_is_what_the_generator_writes_for_the_first_cell() -> None:
    assert packaged("permissions.conf", "nats") == permissions([FIRST_CELL])
    assert users([FIRST_CELL]) == list(NATS_USERS)


@pytest.mark.parametrize("cells", [[], ["A"], ["a0", "a.>"], ["a" * 9]])
def test_the_generator_refuses_what_is_no_cell(cells: list[str]) -> None:
    with pytest.raises(ValueError, match="one to eight lower-case letters and digits"):
        permissions(cells)


@pytest.mark.parametrize("login", ["{}", '{"user":"session","pass":"wrong"}', '{"user":"nobody","pass":"x"}'])
async def test_nobody_gets_in_without_the_password(server: NatsServer, login: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(f"CONNECT {login}\r\nPING\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"-ERR 'Authorization Violation")
    writer.close()
    await writer.wait_closed()


async def test_the_acknowledgement_of_a_task_reaches_its_publisher_alone(clean: NatsServer) -> None:
    """JetStream sends it to the reply subject of the message, which may be one on which its user may not publish."""
    key = Key("default", new_session_id(FIRST_CELL))
    foreign = (subjects.log(key), subjects.inbox(key, "in"), "$KV.keys.default.x", "$JS.API.STREAM.PURGE.TASKS")
    async with raw(clean, "publisher") as publisher, as_user(clean, "session") as session:
        for subject in foreign:
            await publisher.client.publish("task.default.work", b"{}", reply=subject)
        got = await publisher.client.request("task.default.work", b"{}", timeout=5)
        assert msgspec.json.decode(got.data) == {"stream": "TASKS", "seq": len(foreign) + 1}
        taken: list[int] = []
        stop = asyncio.Event()

        async def handle(delivery: StreamDelivery) -> None:
            taken.append(delivery.seq)
            await delivery.ack()
            if len(taken) > len(foreign):
                stop.set()

        await asyncio.wait_for(session.tasks.consume(handle, stop, limit=1), 20)
        assert taken == [1, 2, 3, 4, 5]
        assert await session.log.head(key, leader=True) is None
        assert await session.inbox.pending(key) == []
        assert await session.kv.list("keys") == []


async def test_the_answer_to_a_request_for_a_task_reaches_its_sender_alone(clean: NatsServer) -> None:
    """The service may write to logs, so a request must not choose where it answers."""
    key = Key("default", new_session_id(FIRST_CELL))
    foreign = (subjects.log(key), subjects.inbox(key, "in"), "$KV.keys.default.x", "again.default.work")
    heard: list[str] = []

    async def answer(got: RawMessage) -> bytes:
        heard.append(got.reply)
        return b"{}"

    async with (
        raw(clean, "publisher") as publisher,
        as_user(clean, "session") as session,
        as_user(clean, "admin") as admin,
    ):
        stop = asyncio.Event()
        serving = asyncio.create_task(session.task_requests.serve(answer, stop))
        for subject in foreign:
            await publisher.client.publish("ask.default.work", b"{}", reply=subject)
        await publisher.client.publish("ask.default.work", b"{}")

        async def answered() -> bool:
            try:
                return (await publisher.client.request("ask.default.work", b"{}", timeout=1)).data == b"{}"
            except NatsError:  # nobody listens yet
                return False

        await eventually(answered, what="an answer")
        stop.set()
        await serving
        assert all(reply.startswith("_R_.") for reply in heard)
        assert await session.log.head(key, leader=True) is None
        assert await session.inbox.pending(key) == []
        assert await session.kv.list("keys") == []
        queue = msgspec.json.decode(await admin.core.request("$JS.API.STREAM.INFO.TASKS", b"", timeout=5))
        assert queue["state"]["messages"] == 0
        assert await publisher.refused() <= {LAST}


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


async def drive(session: NatsBus, harness: NatsBus, sandbox: NatsBus, cell: str = FIRST_CELL) -> None:
    """A session is made, an input arrives with a large body, is taken, and everybody sees what they must."""
    key = Key("default", new_session_id(cell))
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

    consuming = asyncio.create_task(harness.inbox.consume(cell, handle, stop, limit=10))
    assert await session.inbox.stream_epoch(cell) == await harness.inbox.stream_epoch(cell)
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


async def call(session: NatsBus, harness: NatsBus, sandbox: NatsBus, vault: NatsBus, cell: str = FIRST_CELL) -> None:
    """Requests and their answers."""

    async def echo(data: bytes) -> bytes:
        return data

    served = [
        await sandbox.core.serve(subjects.provision(cell, SANDBOX), echo, queue=SANDBOX),
        await sandbox.core.serve(subjects.execute(cell, "w1"), echo),
        await sandbox.core.serve(subjects.cancel(cell, "w1"), echo),
        await sandbox.core.serve(subjects.release(cell), echo),
        await vault.core.serve(subjects.VAULT_ADMIN, echo, queue="vault"),
        await vault.core.serve(subjects.VAULT_KEY, echo, queue="vault"),
    ]
    for subject in (
        subjects.provision(cell, SANDBOX),
        subjects.execute(cell, "w1"),
        subjects.cancel(cell, "w1"),
    ):
        assert await harness.core.request(subject, b"1", timeout=5) == b"1"
    for subject in (subjects.release(cell), subjects.VAULT_ADMIN, subjects.VAULT_KEY):
        assert await session.core.request(subject, b"2", timeout=5) == b"2"
    for one in served:
        await one.close()

    key = Key("default", new_session_id(cell))
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


async def buckets(session: NatsBus, harness: NatsBus, sandbox: NatsBus, cell: str = FIRST_CELL) -> None:
    for bus, bucket in ((session, "agents"), (session, "envs"), (session, "keys"), (sandbox, "hands")):
        one, other = (f"w.{cell}.b", f"w.{cell}.c") if bucket == "hands" else ("a.b", "c")
        watch = bus.kv.watch(bucket, subjects.worker_keys(cell) if bucket == "hands" else ">")
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
    await harness.kv.put("snap", f"{cell}.default.x", b"1")
    assert await harness.kv.get("snap", f"{cell}.default.x", leader=False)
