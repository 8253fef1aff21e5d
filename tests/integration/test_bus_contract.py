"""What every bus must do, over the one in memory and the real one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from services.bus import events as ev
from services.bus import streams, subjects
from services.bus.api import Bus, Delivery, Entry, Message, Waiting
from services.bus.client import connect
from services.bus.codec import encode_input
from services.bus.commits import Commit, Stored, commit
from services.bus.errors import Absent, BusError, Conflict, NoResponders, Refused, TooLarge, Unavailable
from services.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from services.bus.inputs import CallResult, ClientInput, Nudge
from services.bus.nats_link import Link
from services.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.memory_bus import MemoryBus
from tests.support.memory_server import MemoryServer
from tests.support.servers import NatsServer

Connect = Callable[[str], Awaitable[Bus]]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))

    try:
        server.start_now()
        server.provision()
        yield server
    finally:
        server.kill()


async def _purged(server: NatsServer) -> None:
    link = Link()
    await link.open([server.url], name="purge", login=None)
    await link.api(f"STREAM.PURGE.{streams.inbox_stream()}")
    await link.close()


@pytest.fixture(params=["memory", "nats"])
async def joined(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Connects one more process to the same bus."""
    made: list[Bus] = []
    if request.param == "memory":
        memory = MemoryServer()

        async def join(name: str) -> Bus:
            made.append(MemoryBus(memory, name))
            return made[-1]
    else:
        server: NatsServer = request.getfixturevalue("nats")
        await _purged(server)

        async def join(name: str) -> Bus:
            made.append(await connect(ProcessSettings(nats_url=server.url), name=name))
            return made[-1]

    yield join
    for bus in made:
        await bus.close()


@pytest.fixture
async def bus(joined: Connect) -> Bus:
    return await joined("one")


@pytest.fixture
def key() -> Key:
    return Key("acme", new_session_id())


def said(text: str, before: Stored | None = None) -> Commit:
    """A commit that follows `before`."""
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return commit(before, [message], by="test", now=time.time_ns() // 1000)


async def written(bus: Bus, key: Key, count: int, before: Stored | None = None) -> list[Stored]:
    """`count` more commits."""
    found: list[Stored] = []
    for number in range(count):
        made = said(f"number {number}", before)
        before = Stored(await bus.append(key, made, before.seq if before else 0), made)
        found.append(before)
    return found


def asked(text: str = "hello") -> ClientInput:
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return ClientInput(id=new_id("in"), events=[message])


# --- log ---------------------------------------------------------------------------------------------------------


async def test_the_log_keeps_commits_in_order(bus: Bus, key: Key) -> None:
    stored = await written(bus, key, 3)
    assert await bus.read(key) == stored
    assert await bus.read(key, leader=True) == stored
    assert await bus.read(key, stored[0].seq) == stored[1:]
    assert await bus.read(key, stored[1].seq, leader=True) == stored[2:]
    assert await bus.read(key, stored[2].seq) == []
    assert await bus.head(key) == stored[2]
    assert await bus.head(key, leader=True) == stored[2]
    assert await bus.get(key, stored[1].seq) == stored[1]
    assert [one async for page in bus.pages(key, stored[0].seq) for one in page] == stored[1:]


async def test_what_is_not_there_is_none(bus: Bus, key: Key) -> None:
    stored = await written(bus, key, 1)
    other = Key("acme", new_session_id())
    assert await bus.head(other) is None
    assert await bus.head(other, leader=True) is None
    assert await bus.read(other, leader=True) == []
    assert await bus.get(other, stored[0].seq) is None, "the commit of another session"
    assert await bus.get(key, stored[0].seq + 1_000_000) is None


async def test_an_append_at_a_moved_log_is_refused_and_writes_nothing(bus: Bus, key: Key) -> None:
    first, second = await written(bus, key, 2)
    with pytest.raises(Conflict) as caught:
        await bus.append(key, said("late", first), first.seq)
    assert (caught.value.expected, caught.value.actual) == (first.seq, second.seq)
    with pytest.raises(Conflict):
        await bus.append(key, said("again the first"), 0)
    with pytest.raises(Conflict):
        await bus.append(Key("acme", new_session_id()), said("no log yet"), 7)
    assert await bus.read(key) == [first, second]


async def test_an_unchanged_commit_sent_again_is_stored_once(bus: Bus, key: Key) -> None:
    first, second, third = await written(bus, key, 3)
    assert await bus.append(key, third.commit, second.seq) == third.seq
    assert await bus.append(key, second.commit, first.seq) == second.seq, "found below the last one"
    assert await bus.append(key, first.commit, 0) == first.seq
    assert len(await bus.read(key)) == 3


async def test_of_many_racing_writers_one_wins(joined: Connect, key: Key) -> None:
    buses = [await joined(f"racer-{n}") for n in range(4)]
    last: Stored | None = None
    for number in range(10):
        made = [said(f"{number} by {n}", last) for n in range(4)]
        results = await asyncio.gather(
            *(b.append(key, m, last.seq if last else 0) for b, m in zip(buses, made, strict=True)),
            return_exceptions=True,
        )
        won = [(r, m) for r, m in zip(results, made, strict=True) if isinstance(r, int)]
        assert len(won) == 1
        assert all(isinstance(r, Conflict) for r in results if not isinstance(r, int))
        last = Stored(*won[0])
    assert (await buses[0].read(key))[-1] == last


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_large_event_travels_by_the_object_store(bus: Bus, key: Key, size: int) -> None:
    (first,) = await written(bus, key, 1)
    made = said("x" * size, first)
    stored = Stored(await bus.append(key, made, first.seq), made)
    head = await bus.head(key)
    assert head is not None
    assert [type(e) for e in head.commit.events] == [ev.Blob]
    assert head.commit.head == made.head
    assert await bus.read(key) == [first, stored]
    assert await bus.read(key, first.seq, leader=True) == [stored]
    assert await bus.get(key, stored.seq) == stored
    assert await bus.append(key, made, first.seq) == stored.seq, "put again, stored once"
    tail = bus.tail(key, 0)
    assert await anext(tail) is None
    assert [await anext(tail), await anext(tail)] == [first, stored]


async def test_many_middling_events_fit_one_commit(bus: Bus, key: Key) -> None:
    messages = [ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": "y" * 100_000}]) for _ in range(90)]
    made = commit(None, messages, by="test", now=1)
    seq = await bus.append(key, made, 0)
    assert await bus.read(key) == [Stored(seq, made)]


async def test_text_that_is_no_utf8_never_enters_the_log(bus: Bus, key: Key) -> None:
    with pytest.raises(Refused):
        await bus.append(key, said("\ud800"), 0)
    assert await bus.read(key) == []


async def test_a_tail_has_no_gap_and_no_repetition_under_concurrent_appends(joined: Connect, key: Key) -> None:
    writer, reader = await joined("writer"), await joined("reader")
    stored = await written(writer, key, 5)
    tails = [reader.tail(key, 0), reader.tail(key, stored[2].seq), reader.tail(key, None)]

    async def collect(tail: AsyncIterator[Stored | None], count: int) -> list[Stored]:
        found: list[Stored] = []
        async for one in tail:
            if one is not None:
                found.append(one)
            if len(found) == count:
                return found
        return found

    for tail in tails:
        assert await anext(tail) is None, "the first value says that nothing is missed from now on"
    reading = [asyncio.create_task(collect(t, n)) for t, n in zip(tails, (105, 102, 100), strict=True)]
    stored += await written(writer, key, 100, stored[-1])
    found = await asyncio.wait_for(asyncio.gather(*reading), 20)
    assert found == [stored, stored[3:], stored[5:]]


async def test_a_silent_tail_says_so(bus: Bus, key: Key) -> None:
    tail = bus.tail(key, 0)
    assert await anext(tail) is None
    assert await asyncio.wait_for(anext(tail), 10) is None


async def test_following_all_sessions_of_a_cell(joined: Connect) -> None:
    writer, reader = await joined("writer"), await joined("reader")
    keys = [Key("acme", new_session_id()) for _ in range(3)]
    first = [(k, (await written(writer, k, 1))[0]) for k in keys]
    start = first[0][1].seq - 1
    following = reader.follow(FIRST_CELL, start)
    found: list[tuple[Key, Stored]] = []
    async for batch in following:
        found += batch
        if not batch:
            break
    assert found == first
    second = [(k, (await written(writer, k, 1, s))[0]) for k, s in first]
    async for batch in following:
        found += batch
        if len(found) == 6:
            break
    assert found == first + second


# --- inbox -------------------------------------------------------------------------------------------------------


async def test_an_input_waits_until_it_is_acked(bus: Bus, key: Key) -> None:
    values = [asked("one"), Nudge(id=new_id("ndg")), asked("three")]
    seqs = [await bus.put_input(key, value) for value in values]
    assert seqs == sorted(set(seqs))
    assert await bus.put_input(key, values[0]) == seqs[0], "the same id is stored once"
    waiting = await bus.waiting(key, 0)
    assert [(w.seq, w.input) for w in waiting] == list(zip(seqs, values, strict=True))
    assert [w.seq for w in await bus.waiting(key, seqs[0], upto=seqs[2])] == seqs[1:]
    assert await bus.waiting(key, seqs[2]) == []
    assert await bus.waiting(Key("acme", new_session_id()), 0) == []


async def test_the_incarnation_stays(joined: Connect) -> None:
    one, two = await joined("one"), await joined("two")
    assert await one.incarnation(FIRST_CELL) == await two.incarnation(FIRST_CELL) != ""


@contextlib.asynccontextmanager
async def consuming(bus: Bus, handle: Callable[[Delivery], Awaitable[None]], limit: int = 10) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(bus.consume(FIRST_CELL, handle, stop, limit=limit))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def test_the_ack_removes(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    got: asyncio.Queue[tuple[Key, int, int, Waiting]] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        await delivery.ack()  # again does no harm
        got.put_nowait((delivery.key, delivery.seq, delivery.count, delivery.waiting()))

    async with consuming(one, handle):
        value = asked()
        seq = await two.put_input(key, value)
        assert await asyncio.wait_for(got.get(), 5) == (key, seq, 1, Waiting(seq, encode_input(value)[0], value))
        assert await two.waiting(key, 0) == []


async def test_an_input_is_delivered_again_after_ack_wait_and_a_beat_holds_it_off(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    times: list[tuple[str, int, float]] = []
    dropped, release = asyncio.Event(), asyncio.Event()

    async def drop(delivery: Delivery) -> None:
        times.append(("one", delivery.count, asyncio.get_running_loop().time()))
        dropped.set()  # returns without an ack: as a process that died

    async def hold(delivery: Delivery) -> None:
        times.append(("two", delivery.count, asyncio.get_running_loop().time()))
        await release.wait()
        await delivery.ack()

    async with consuming(one, drop):
        await one.put_input(key, asked())
        await asyncio.wait_for(dropped.wait(), 5)
    async with consuming(two, hold):
        await eventually(lambda: _is(len(times) > 1), within=5)
        assert [t[:2] for t in times] == [("one", 1), ("two", 2)]
        assert streams.ACK_WAIT - 0.05 <= times[1][2] - times[0][2] < streams.ACK_WAIT + 1
        with pytest.raises(AssertionError):  # nothing comes while the handler runs, for longer than ack_wait
            await eventually(lambda: _is(len(times) > 2), within=streams.ACK_WAIT * 2)
        release.set()
    assert await one.waiting(key, 0) == []


async def _is(value: bool) -> bool:
    return value


async def test_a_nak_brings_it_again_after_its_delay(bus: Bus, key: Key) -> None:
    times: list[float] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        times.append(asyncio.get_running_loop().time())
        match delivery.count:
            case 1:
                await delivery.nak()
            case 2:
                await delivery.nak(2.0)
            case _:
                await delivery.ack()
                done.set()

    async with consuming(bus, handle):
        await bus.put_input(key, asked())
        await asyncio.wait_for(done.wait(), 10)
    assert times[1] - times[0] < 1
    assert 1.9 < times[2] - times[1] < 3, "longer than ack_wait"


async def test_no_more_than_the_limit_at_once_and_all_in_the_end(bus: Bus, key: Key) -> None:
    now = most = done = 0
    full = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        if now == 3:
            full.set()
        await full.wait()
        now -= 1
        await delivery.ack()
        done += 1

    seqs = [await bus.put_input(key, Nudge(id=new_id("ndg"))) for _ in range(20)]
    async with consuming(bus, handle, limit=3):
        await eventually(lambda: _is(done == len(seqs)), within=10)
    assert most == 3
    assert await bus.waiting(key, 0) == []


async def test_a_failed_handler_leaves_its_delivery_to_another(joined: Connect, key: Key) -> None:
    bus = await joined("one")
    counts: list[int] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        counts.append(delivery.count)
        if delivery.count == 1:
            raise RuntimeError("as a bug would")
        await delivery.ack()
        done.set()

    async with consuming(bus, handle):
        await bus.put_input(key, asked())
        await asyncio.wait_for(done.wait(), 5)
    assert counts == [1, 2]


async def test_stopping_waits_for_what_is_in_hand_and_takes_nothing_more(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    held, release, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
    counts: list[int] = []

    async def hold(delivery: Delivery) -> None:
        held.set()
        await release.wait()
        await delivery.ack()

    async def take(delivery: Delivery) -> None:
        counts.append(delivery.count)
        await delivery.ack()

    task = asyncio.create_task(one.consume(FIRST_CELL, hold, stop, limit=5))
    await one.put_input(key, asked("in hand"))
    await asyncio.wait_for(held.wait(), 5)
    stop.set()
    async with consuming(two, take):
        await two.put_input(key, asked("for the other"))
        await eventually(lambda: _is(len(counts) == 1), within=1)
        assert not task.done(), "it waits for its handler"
        release.set()
        await asyncio.wait_for(task, 5)
    assert await two.waiting(key, 0) == []


async def test_arrivals_are_heard(joined: Connect, key: Key) -> None:
    one, two = await joined("one"), await joined("two")
    heard: asyncio.Queue[Waiting] = asyncio.Queue()
    listening = await one.on_arrival(key, heard.put_nowait)
    assert await one.waiting(key, 0) == []  # the server has seen the subscription
    before = 0
    for given in (asked(), asked("z" * 300_000), asked()):
        await two.put_input(Key(key.tenant, new_session_id()), asked("to another session"))
        seq = await two.put_input(key, given)
        arrived = await asyncio.wait_for(heard.get(), 5)
        assert (arrived.seq, arrived.input, arrived.previous) == (seq, given, before)
        before = seq
    await listening.close()


@pytest.mark.parametrize("size", [300_000, 3_000_000])
async def test_a_large_input_travels_by_the_object_store(bus: Bus, key: Key, size: int) -> None:
    value = CallResult(id=new_id("sevt"), generation="g", content=[{"type": "text", "text": "r" * size}])
    seq = await bus.put_input(key, value)
    assert [(w.seq, w.input) for w in await bus.waiting(key, 0)] == [(seq, value)]
    got: asyncio.Queue[Waiting] = asyncio.Queue()

    async def handle(delivery: Delivery) -> None:
        got.put_nowait(delivery.waiting())
        await delivery.ack()

    async with consuming(bus, handle):
        assert (await asyncio.wait_for(got.get(), 5)).input == value


# --- buckets -----------------------------------------------------------------------------------------------------


@pytest.fixture
def name() -> str:
    return new_id("k")


async def test_keys_are_written_under_check(bus: Bus, name: str) -> None:
    assert await bus.kv_get("agents", name) is None
    first = await bus.kv_create("agents", name, b"1")
    with pytest.raises(Conflict):
        await bus.kv_create("agents", name, b"other")
    second = await bus.kv_update("agents", name, b"2", first)
    with pytest.raises(Conflict) as caught:
        await bus.kv_update("agents", name, b"3", first)
    assert caught.value.actual == second
    assert await bus.kv_get("agents", name) == Entry(name, b"2", second)
    third = await bus.kv_put("agents", name, b"3")
    assert third > second
    await bus.kv_delete("agents", name)
    assert await bus.kv_get("agents", name) is None
    assert [e.key for e in await bus.kv_list("agents", name)] == []
    fourth = await bus.kv_create("agents", name, b"4")
    assert await bus.kv_list("agents", name) == [Entry(name, b"4", fourth)]


async def test_lists_match_patterns(bus: Bus, name: str) -> None:
    for part in ("a", "b.c", "b.d"):
        await bus.kv_put("envs", f"{name}.{part}", part.encode())
    assert {e.key for e in await bus.kv_list("envs", f"{name}.>")} == {f"{name}.{p}" for p in ("a", "b.c", "b.d")}
    assert {e.key for e in await bus.kv_list("envs", f"{name}.*")} == {f"{name}.a"}
    assert {e.key for e in await bus.kv_list("envs", f"{name}.b.*")} == {f"{name}.b.c", f"{name}.b.d"}
    with pytest.raises(ValueError, match="not a key"):
        await bus.kv_put("envs", "a.>", b"")


async def test_a_key_with_a_ttl_expires_unless_it_is_written_again(joined: Connect, name: str) -> None:
    one, two = await joined("one"), await joined("two")
    changes = two.kv_watch("sbx", f"w.{name}")
    assert await anext(changes) is None
    loop = asyncio.get_running_loop()
    await one.kv_put("sbx", f"w.{name}", b"1", ttl=2)
    began = loop.time()
    written_again = await one.kv_put("sbx", f"w.{name}", b"2", ttl=2)
    values = [await asyncio.wait_for(anext(changes), 5) for _ in range(3)]
    assert [v.value if v else v for v in values] == [b"1", b"2", None]
    assert 1.8 < loop.time() - began < 3
    assert await one.kv_get("sbx", f"w.{name}") is None
    created = await one.kv_create("sbx", f"w.{name}", b"3")
    assert created > written_again


async def test_a_watch_shows_what_is_there_and_then_every_change(joined: Connect, name: str) -> None:
    one, two = await joined("one"), await joined("two")
    first = await one.kv_put("keys", f"{name}.a", b"1")
    await one.kv_put("keys", f"{name}.gone", b"1")
    await one.kv_delete("keys", f"{name}.gone")
    changes = two.kv_watch("keys", f"{name}.>")
    assert await anext(changes) == Entry(f"{name}.a", b"1", first)
    assert await anext(changes) is None
    second = await one.kv_put("keys", f"{name}.b", b"2")
    await one.kv_delete("keys", f"{name}.a")
    assert await asyncio.wait_for(anext(changes), 5) == Entry(f"{name}.b", b"2", second)
    deleted = await asyncio.wait_for(anext(changes), 5)
    assert deleted
    assert (deleted.key, deleted.value) == (f"{name}.a", None)


# --- core --------------------------------------------------------------------------------------------------------


async def test_nobody_listens_is_known_at_once(bus: Bus) -> None:
    began = time.perf_counter()
    with pytest.raises(NoResponders):
        await bus.request(subjects.execute(new_id("w")), b"", timeout=5)
    assert time.perf_counter() - began < 0.2


async def test_requests_are_answered_side_by_side(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    together = asyncio.Barrier(3)

    async def handler(data: bytes) -> bytes:
        await together.wait()  # only passes when three are handled at once
        return data.upper()

    subject = subjects.execute(new_id("w"))
    serving = await server.serve(subject, handler, queue="q")
    answers = await asyncio.gather(*(client.request(subject, x, timeout=5) for x in (b"a", b"b", b"c")))
    assert answers == [b"A", b"B", b"C"]
    await serving.close()
    await eventually(lambda: _refuses(client, subject), within=2)


async def _refuses(bus: Bus, subject: str) -> bool:
    try:
        await bus.request(subject, b"", timeout=0.2)
    except NoResponders:
        return True
    except Unavailable:
        return False
    return False


@pytest.mark.parametrize("error", [Refused("a secret"), Absent("a secret"), NoResponders("a secret"), TooLarge("x")])
async def test_a_refusal_crosses_with_its_kind_and_without_its_text(joined: Connect, error: BusError) -> None:
    server, client = await joined("server"), await joined("client")

    async def handler(_: bytes) -> bytes:
        raise error

    subject = subjects.execute(new_id("w"))
    await server.serve(subject, handler)
    with pytest.raises(type(error)) as caught:
        await client.request(subject, b"", timeout=5)
    assert "secret" not in str(caught.value)


async def test_a_bug_in_a_handler_is_unavailable_to_the_other_side(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")

    async def handler(_: bytes) -> bytes:
        raise RuntimeError("a secret")

    subject = subjects.execute(new_id("w"))
    await server.serve(subject, handler)
    with pytest.raises(Unavailable) as caught:
        await client.request(subject, b"", timeout=5)
    assert "secret" not in str(caught.value)


async def test_a_handler_also_hears_what_wants_no_answer(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def handler(data: bytes) -> bytes:
        heard.put_nowait(data)
        return b""

    subject = subjects.execute(new_id("w"))
    await server.serve(subject, handler)
    await client.publish(subject, b"x")
    assert await asyncio.wait_for(heard.get(), 5) == b"x"


async def test_a_request_ends_at_its_timeout(joined: Connect) -> None:
    server, client = await joined("server"), await joined("client")
    release = asyncio.Event()

    async def handler(_: bytes) -> bytes:
        await release.wait()
        return b""

    subject = subjects.execute(new_id("w"))
    serving = await server.serve(subject, handler)
    with pytest.raises(Unavailable):
        await client.request(subject, b"", timeout=0.2)
    release.set()
    await serving.close()


async def test_a_queue_group_shares_and_others_all_hear(joined: Connect, key: Key) -> None:
    buses = [await joined(f"b{n}") for n in range(3)]
    served: list[int] = []
    subject = subjects.execute(new_id("w"))

    def handler(n: int) -> Callable[[bytes], Awaitable[bytes]]:
        async def handle(_: bytes) -> bytes:
            served.append(n)
            return b""

        return handle

    for n in range(2):
        await buses[n].serve(subject, handler(n), queue="q")
    for _ in range(10):
        await buses[2].request(subject, b"", timeout=5)
    assert len(served) == 10, "each is handled by one"
    heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    def listener(n: int) -> Callable[[Message], Awaitable[None]]:
        async def hear(message: Message) -> None:
            assert message.subject == subjects.delta(key)
            heard.put_nowait((n, message.data))

        return hear

    for n in range(2):
        await buses[n].subscribe(subjects.delta(key), listener(n))
    for word in (b"a", b"b", b"c"):
        await buses[2].publish(subjects.delta(key), word)
    got = [await asyncio.wait_for(heard.get(), 5) for _ in range(6)]
    assert [[w for n, w in got if n == one] for one in range(2)] == [[b"a", b"b", b"c"]] * 2, "in order"


async def test_too_large_is_typed(bus: Bus, key: Key) -> None:
    with pytest.raises(TooLarge):
        await bus.publish(subjects.delta(key), b"x" * (streams.MAX_MESSAGE + 1))
