"""The bus over a real server that dies, a network that swallows answers, and a server somebody meddles with."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.bus import events as ev
from holdfast.bus import streams
from holdfast.bus.api import Delivery, Message
from holdfast.bus.commits import Commit, Stored, commit
from holdfast.bus.errors import Absent, Conflict, Refused, StorageFull, Unavailable
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput, Nudge
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.provision import overlaps, provision, uncovered
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.proxy import Proxy, proxy
from tests.support.servers import NatsServer, nats_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def bus(server: NatsServer) -> AsyncIterator[NatsBus]:
    made = await connect(ProcessSettings(nats_url=server.url), name="test")
    yield made
    await made.close()


@pytest.fixture
async def between(server: NatsServer) -> AsyncIterator[Proxy]:
    async with proxy(server.port) as running:
        yield running


@pytest.fixture
async def far(between: Proxy) -> AsyncIterator[NatsBus]:
    """Connected through the proxy."""
    made = await connect(ProcessSettings(nats_url=between.url), name="far")
    yield made
    await made.close()


@pytest.fixture
async def admin(server: NatsServer) -> AsyncIterator[JetStreamClient]:
    link = JetStreamClient()
    await link.open([server.url], name="admin", login=None)
    yield link
    await link.close()


@pytest.fixture
def key() -> Key:
    return Key("acme", new_session_id())


def said(text: str, before: Stored | None = None) -> Commit:
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return commit(before, [message], by="test", new_id=new_id, now=time.time_ns() // 1000)


async def is_true(value: bool) -> bool:
    return value


# --- lost answers ------------------------------------------------------------------------------------------------


async def test_a_lost_answer_to_an_append_is_resolved_by_the_commit_id(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    made = said("one")
    between.swallow = True
    appending = asyncio.create_task(far.log.append(key, made, 0))
    await asyncio.wait_for(between.seen.wait(), 5)
    stored = await bus.log.head(key)
    assert stored is not None, "the server stored it, and its answer was swallowed"
    between.cut()
    assert await asyncio.wait_for(appending, 15) == stored.seq
    assert await bus.log.read(key) == [stored]


async def test_a_lost_answer_is_found_below_later_commits(bus: NatsBus, far: NatsBus, between: Proxy, key: Key) -> None:
    made = said("one")
    between.swallow = True
    appending = asyncio.create_task(far.log.append(key, made, 0))
    await asyncio.wait_for(between.seen.wait(), 5)
    stored = await bus.log.head(key)
    assert stored is not None
    for number in range(3):
        other = said(f"by another {number}", stored)
        stored = Stored(await bus.log.append(key, other, stored.seq), other)
    between.cut()
    first = (await bus.log.read(key))[0]
    assert await asyncio.wait_for(appending, 15) == first.seq
    assert first.commit == made


async def test_an_append_that_never_arrived_is_sent_again_unless_the_log_moved(
    bus: NatsBus, server: NatsServer, far: NatsBus, between: Proxy, key: Key
) -> None:
    server.signal(signal.SIGSTOP)
    one, before = said("one"), between.asked
    appending = asyncio.create_task(far.log.append(key, one, 0))
    await eventually(lambda: is_true(between.asked > before))  # it lies in a socket of the stopped server
    between.cut()
    server.signal(signal.SIGCONT)
    assert await asyncio.wait_for(appending, 15) > 0
    assert [s.commit.id for s in await bus.log.read(key)] == [one.id]


async def test_a_lost_answer_to_an_append_that_was_refused_is_a_conflict(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    await bus.log.append(key, said("of another"), 0)
    between.swallow = True
    appending = asyncio.create_task(far.log.append(key, said("mine"), 0))
    await asyncio.wait_for(between.seen.wait(), 5)
    between.cut()
    with pytest.raises(Conflict):
        await asyncio.wait_for(appending, 15)
    assert len(await bus.log.read(key)) == 1


async def test_an_input_whose_answer_was_lost_is_stored_once(
    bus: NatsBus, far: NatsBus, between: Proxy, key: Key
) -> None:
    between.swallow = True
    putting = asyncio.create_task(far.inbox.put(key, Nudge(id=new_id("ndg"))))
    await asyncio.wait_for(between.seen.wait(), 5)
    between.cut()
    seq = await asyncio.wait_for(putting, 15)
    assert [w.seq for w in await bus.inbox.pending(key, 0)] == [seq]


async def test_a_key_whose_answer_was_lost_is_created_once(bus: NatsBus, far: NatsBus, between: Proxy) -> None:
    between.swallow = True
    creating = asyncio.create_task(far.kv.create("sbx", "c.one", b"1"))
    await asyncio.wait_for(between.seen.wait(), 5)
    between.cut()
    revision = await asyncio.wait_for(creating, 15)
    entry = await bus.kv.get("sbx", "c.one")
    assert entry
    assert (entry.value, entry.revision) == (b"1", revision)


async def test_a_half_dead_connection_ends_as_unavailable(far: NatsBus, between: Proxy, key: Key) -> None:
    between.swallow = True
    with pytest.raises(Unavailable):
        await far.core.request("cmd.nobody", b"", timeout=0.5)


@pytest.mark.parametrize("error", ["Slow Consumer", "Authentication Timeout", "anything else", "Stale Connection"])
async def test_an_error_of_the_server_never_ends_the_connection_for_good(
    far: NatsBus, between: Proxy, key: Key, error: str
) -> None:
    await far.log.append(key, said("one"), 0)
    between.say(f"-ERR '{error}'\r\n".encode())
    await eventually(lambda: is_true(not far.connected), within=5)
    await eventually(lambda: is_true(far.connected), within=5)
    assert len(await far.log.read(key)) == 1


async def test_a_permission_that_is_missing_does_not_cost_the_connection(
    far: NatsBus, between: Proxy, key: Key
) -> None:
    between.say(b"-ERR 'Permissions Violation for Publish to \"vault.x\"'\r\n")
    for number in range(3):
        await far.inbox.put(key, Nudge(id=new_id("ndg")))
        assert far.connected, number


# --- the server dies ---------------------------------------------------------------------------------------------


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed_in_the_middle(
    server: NatsServer, bus: NatsBus
) -> None:
    keys = [Key("acme", new_session_id()) for _ in range(4)]
    acknowledged: dict[Key, list[tuple[int, str]]] = {k: [] for k in keys}
    inputs: dict[Key, list[int]] = {k: [] for k in keys}
    stop = asyncio.Event()

    async def write(k: Key) -> None:
        last: Stored | None = None
        while not stop.is_set():
            made = said("x", last)
            last = Stored(await bus.log.append(k, made, last.seq if last else 0), made)
            acknowledged[k].append((last.seq, made.id))
            inputs[k].append(await bus.inbox.put(k, Nudge(id=new_id("ndg"))))

    writing = [asyncio.create_task(write(k)) for k in keys]
    for _ in range(2):
        before = sum(map(len, acknowledged.values()))
        await eventually(lambda b=before: is_true(sum(map(len, acknowledged.values())) > b + 200))
        server.kill()
        await server.start()
        before = sum(map(len, acknowledged.values()))
        await eventually(lambda b=before: is_true(sum(map(len, acknowledged.values())) > b + 200))
    stop.set()
    await asyncio.wait_for(asyncio.gather(*writing), 30)
    for k in keys:
        assert [(s.seq, s.commit.id) for s in await bus.log.read(k, leader=True)] == acknowledged[k]
        assert [w.seq for w in await bus.inbox.pending(k, 0)] == inputs[k]


async def test_a_tail_is_whole_over_a_restart(  # noqa: C901
    server: NatsServer, bus: NatsBus, key: Key
) -> None:
    reader = await connect(ProcessSettings(nats_url=server.url), name="reader")
    found: list[int] = []
    heard: list[bytes] = []

    async def read() -> None:
        async for stored in reader.log.tail(key, 0):
            if stored:
                found.append(stored.seq)  # noqa: PERF401  looked at meanwhile

    async def watch() -> None:
        async for entry in reader.kv.watch("sbx", "w.>"):
            if entry and entry.value:
                heard.append(entry.value)  # noqa: PERF401

    tasks = [asyncio.create_task(read()), asyncio.create_task(watch())]
    last: Stored | None = None
    for number in range(300):
        if number in (100, 200):
            server.kill()
            await server.start()
        made = said("x", last)
        last = Stored(await bus.log.append(key, made, last.seq if last else 0), made)
        if number % 50 == 0:
            await bus.kv.put("sbx", "w.a", str(number).encode())
    assert last
    await eventually(lambda: is_true(found[-1:] == [last.seq]), within=15)
    await eventually(lambda: is_true(heard[-1:] == [b"250"]), within=15)
    assert found == [s.seq for s in await bus.log.read(key, leader=True)]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await reader.close()


async def test_deliveries_go_on_over_a_restart_without_a_storm(server: NatsServer, bus: NatsBus, key: Key) -> None:
    counts: dict[int, int] = {}
    acked: set[int] = set()
    stop = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        counts[delivery.seq] = counts.get(delivery.seq, 0) + 1
        await delivery.ack()
        acked.add(delivery.seq)

    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8))
    seqs: list[int] = []
    for number in range(200):
        if number in (60, 120):
            server.kill()
            await server.start()
        seqs.append(await bus.inbox.put(key, Nudge(id=new_id("ndg"))))
    await eventually(lambda: is_true(acked == set(seqs)), within=20)
    assert max(counts.values()) <= 3
    assert await bus.inbox.pending(key, 0) == []
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_watched_key_that_expired_while_the_server_was_away_is_told(server: NatsServer, bus: NatsBus) -> None:
    changes = bus.kv.watch("sbx", "w.>")
    assert await anext(changes) is None
    await bus.kv.put("sbx", "w.a", b"1", ttl=1)
    first, expired = await anext(changes), time.monotonic() + 1.2
    assert first
    assert first.value == b"1"
    server.kill()
    await eventually(lambda: is_true(time.monotonic() > expired))  # it expires while nobody is there to say so
    await server.start()
    gone = await asyncio.wait_for(anext(changes), 15)
    assert gone
    assert (gone.key, gone.value) == ("w.a", None)


async def test_connecting_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    connecting = asyncio.create_task(connect(ProcessSettings(nats_url=server.url), name="early"))
    await server.start()
    try:
        made = await asyncio.wait_for(connecting, 10)
        assert made.connected
        await made.close()
    finally:
        server.kill()


# --- somebody meddles --------------------------------------------------------------------------------------------


async def test_deliveries_go_on_when_the_consumer_was_removed_and_made_again(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    stop = asyncio.Event()
    got: asyncio.Queue[int] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        got.put_nowait(delivery.seq)

    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8))
    first = await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    assert await asyncio.wait_for(got.get(), 5) == first
    await admin.api(f"CONSUMER.DELETE.{streams.inbox_stream()}.{streams.HARNESS}")
    second = await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    await provision(admin, FIRST_CELL)
    assert await asyncio.wait_for(got.get(), 10) == second
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_another_inbox_stream_has_another_epoch(bus: NatsBus, admin: JetStreamClient) -> None:
    stop, acked = asyncio.Event(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        acked.set()

    before = await bus.inbox.stream_epoch(FIRST_CELL)
    task = asyncio.create_task(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8))
    await bus.inbox.put(Key("acme", new_session_id()), Nudge(id=new_id("ndg")))
    await asyncio.wait_for(acked.wait(), 10)
    await admin.api(f"STREAM.DELETE.{streams.inbox_stream()}")
    await provision(admin, FIRST_CELL)

    async def changed() -> bool:
        return await bus.inbox.stream_epoch(FIRST_CELL) != before

    await eventually(changed, within=10)
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_missing_body_is_a_typed_error(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    made = said("x" * 300_000)
    await bus.log.append(key, made, 0)
    await admin.api(f"STREAM.PURGE.OBJ_{streams.BLOBS}")
    with pytest.raises(Absent):
        await bus.log.read(key)
    assert await bus.log.head(key) is not None


async def test_foreign_bytes_in_the_inbox_are_handed_over_unread(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    for body in (
        b"not json",
        b"[1]",
        b'{"type":"of the future","id":"x"}',
        b'{"type":"nudge","id":"x","v":99}',
        b"\xff",
    ):
        await admin.ask(f"in.{key.tenant}.{key.session}", body)
    waiting = await bus.inbox.pending(key, 0)
    assert [w.input for w in waiting] == [None] * 5


async def test_an_inbox_message_of_no_session_is_put_away(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    for subject in ("in.a", "in.a.b.c", "in.a.b*c"):
        await admin.ask(subject, b"{}")
    stop, got = asyncio.Event(), list[Key]()

    async def handle(delivery: Delivery) -> None:
        got.append(delivery.key)
        await delivery.ack()
        stop.set()

    await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    await asyncio.wait_for(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8), 10)
    assert got == [key]
    info = await admin.api(f"STREAM.INFO.{streams.inbox_stream()}")
    assert info["state"]["messages"] == 0


async def test_foreign_bytes_in_a_log_are_a_typed_error(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    await admin.ask(f"ev.{key.tenant}.{key.session}", b"not a commit")
    with pytest.raises(Refused):
        await bus.log.read(key)
    with pytest.raises(Refused):
        await bus.log.head(key)


# --- the provisioner ---------------------------------------------------------------------------------------------


async def test_provisioning_again_changes_nothing_and_loses_nothing(server: NatsServer, bus: NatsBus, key: Key) -> None:
    made = said("one")
    await bus.log.append(key, made, 0)
    seq = await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    before = await bus.inbox.stream_epoch(FIRST_CELL)
    await asyncio.to_thread(server.provision)
    await asyncio.to_thread(server.provision)
    assert [s.commit for s in await bus.log.read(key)] == [made]
    assert [w.seq for w in await bus.inbox.pending(key, 0)] == [seq]
    assert await bus.inbox.stream_epoch(FIRST_CELL) == before


async def test_provisioning_brings_a_stream_up_to_date(server: NatsServer, admin: JetStreamClient) -> None:
    config = next(c for c in streams.stream_configs() if c["name"] == "KV_sbx")
    old = {k: v for k, v in config.items() if k != "republish"} | {"duplicate_window": streams.SECOND}
    answer = await admin.api("STREAM.UPDATE.KV_sbx", old)
    assert "error" not in answer
    assert "republish" not in answer["config"]
    await asyncio.to_thread(server.provision)
    now = (await admin.api("STREAM.INFO.KV_sbx"))["config"]
    assert now["republish"] == config["republish"]
    assert now["duplicate_window"] == config["duplicate_window"]


async def test_provisioning_refuses_while_any_stream_covers_a_secret(admin: JetStreamClient) -> None:
    answer = await admin.api("STREAM.CREATE.SPY", {"name": "SPY", "subjects": ["vault.req.*"], "storage": "file"})
    assert "error" not in answer
    with pytest.raises(Refused, match="SPY"):
        await provision(admin, FIRST_CELL)


def test_our_streams_cover_no_secret() -> None:
    uncovered(streams.stream_configs())
    for subjects in (["vault.>"], [">"], ["*.req.x"], ["_INBOX.*.x"], ["*.*"]):
        with pytest.raises(Refused):
            uncovered([{"name": "BAD", "subjects": subjects}])
    with pytest.raises(Refused):
        uncovered([{"name": "BAD", "subjects": ["a.>"], "republish": {"src": "a.>", "dest": "vault.>"}}])


def test_patterns_overlap() -> None:
    assert overlaps("a.*.c", "a.b.*")
    assert overlaps("a.>", "a.b")
    assert overlaps("*.b", "a.*")
    assert not overlaps("a.b", "a.b.c")
    assert not overlaps("a.>", "b.>")


async def test_an_answer_goes_to_an_inbox_and_nowhere_else(bus: NatsBus, admin: JetStreamClient) -> None:
    heard: list[bytes] = []
    served: list[bytes] = []

    async def handler(data: bytes) -> bytes:
        served.append(data)
        return b"answer"

    async def listener(message: Message) -> None:
        heard.append(message.data)

    await bus.core.subscribe("live.default.x", listener)
    await bus.core.serve("cmd.sbx.release", handler)
    await admin.send("cmd.sbx.release", b"1", reply="live.default.x")
    await admin.flush()
    assert await bus.core.request("cmd.sbx.release", b"2", timeout=5) == b"answer"
    assert served == [b"1", b"2"]
    assert await bus.core.request("cmd.sbx.release", b"3", timeout=5) == b"answer"
    assert heard == []


async def test_a_cancelled_flush_leaves_the_connection_alone(bus: NatsBus, admin: JetStreamClient) -> None:
    lost: list[bool] = []
    admin.on_back.add(lambda: lost.append(True))
    for _ in range(5):
        flushing = asyncio.create_task(admin.flush())
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait({flushing})
        assert flushing.cancelled()
    async with asyncio.timeout(3):
        await admin.flush()
        assert await admin.api("INFO")
    assert admin.is_up
    assert lost == []


async def test_a_message_sent_before_a_flush_is_there_after_it(bus: NatsBus, admin: JetStreamClient) -> None:
    heard: list[bytes] = []

    async def listener(message: Message) -> None:
        heard.append(message.data)

    await bus.core.subscribe("live.default.x", listener)
    for number in range(50):
        await admin.send("live.default.x", b"%d" % number)
        await admin.flush()
        await bus._link.flush()  # what the server had before is heard before its answer
        assert len(heard) == number + 1


async def test_a_storage_limit_is_told_at_once(tmp_path: Path) -> None:
    """Such a server answers (10023), other than one whose disk is full: the caller need not wait and try again."""
    server = NatsServer(tmp_path / "nats")
    await server.start()
    await asyncio.to_thread(server.provision)
    server.stop()
    server = NatsServer(tmp_path / "nats", max_file="1MB")
    await server.start()
    try:
        bus = await connect(ProcessSettings(nats_url=server.url), name="test")
        key = Key("t", new_session_id(FIRST_CELL))
        began = time.monotonic()

        async def fill() -> None:
            for _ in range(40):
                await bus.inbox.put(key, ClientInput(id=new_id("inp"), events=[_message("x" * 100_000)]))

        with pytest.raises(StorageFull):
            await fill()
        assert time.monotonic() - began < 10
        await bus.close()
    finally:
        server.kill()


def _message(text: str) -> ev.UserMessage:
    return ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
