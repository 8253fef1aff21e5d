"""An administrator removes consumers and streams, and writes bytes that are not ours."""

import asyncio
from contextlib import aclosing

import pytest

from holdfast.bus import codec, streams, subjects
from holdfast.bus.api import Delivery
from holdfast.bus.errors import Damaged, LostBody, Newer
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import CallResult, Nudge, Taken, taken_after
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.provision import provision
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.testing.contracts.helpers import client_input
from tests.support.bus_faults import said
from tests.support.eventually import eventually


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
    await admin.api(f"CONSUMER.DELETE.{streams.inbox_stream()}.{streams.HARNESS_CONSUMER}")
    second = await bus.inbox.put(key, Nudge(id=new_id("ndg")))
    await provision(admin, FIRST_CELL)
    assert await asyncio.wait_for(got.get(), 10) == second
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_log_that_cannot_be_read_is_not_said_to_be_read_to_its_end(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    """Lists would be said to be complete. Reading goes on once the stream is there again."""
    await admin.api(f"STREAM.DELETE.{streams.log_stream(FIRST_CELL)}")
    got: list[list[Key]] = []

    async def follow() -> None:
        async with aclosing(bus.log.follow(FIRST_CELL)) as batches:
            async for batch in batches:
                got.append([key for key, _ in batch])  # noqa: PERF401  looked at meanwhile

    following = asyncio.create_task(follow())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(following), 1)
    assert got == []
    await provision(admin, FIRST_CELL)
    await bus.log.append(key, said("one"), 0)

    async def is_read() -> bool:
        return [key] in got and [] in got

    await eventually(is_read, within=20)
    following.cancel()
    await asyncio.wait([following])


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


async def test_headers_that_look_like_answers_of_the_server_hide_nothing(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    """The status of an answer is a header, and a sandbox may set any header of its results."""
    stored: list[int] = []
    for status in ("100", "204", "404", "408", "409", "500", "503"):
        data, _ = codec.encode_input(Nudge(id=new_id("ndg")))
        stored.append(await admin.store(subjects.inbox(key, "in"), data, {"Status": status, "Description": "x"}))
    stored.append(await bus.inbox.put(key, Nudge(id=new_id("ndg"))))
    assert [waits.seq for waits in await bus.inbox.pending(key)] == stored
    stop, got = asyncio.Event(), list[int]()

    async def handle(delivery: Delivery) -> None:
        await delivery.ack()
        got.append(delivery.seq)
        if len(got) == len(stored):
            stop.set()

    await asyncio.wait_for(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8), 20)
    assert sorted(got) == stored


async def test_a_missing_body_is_a_typed_error(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    made = said("x" * 300_000)
    await bus.log.append(key, made, 0)
    await admin.api(f"STREAM.PURGE.{streams.blob_stream()}")
    with pytest.raises(LostBody):
        await bus.log.read(key)
    assert await bus.log.head(key) is not None


async def test_foreign_bytes_in_the_inbox_are_handed_over_unread(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    for body in (b"not json", b"[1]", b'{"type":"nudge"}', b"\xff"):
        await admin.ask(subjects.inbox(key, "in"), body)
    waiting = await bus.inbox.pending(key)
    assert [(w.input, w.newer) for w in waiting] == [(None, False)] * 4


async def test_an_input_of_a_newer_version_is_told_from_a_damaged_one(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    arrived: asyncio.Queue[bool] = asyncio.Queue()
    subscription = await bus.inbox.on_arrival(key, lambda pending: arrived.put_nowait(pending.newer), lambda: None)
    assert not await bus.inbox.pending(key)  # on the connection of the subscription: the server has it now
    for body in (b'{"type":"of the future","id":"x"}', b'{"type":"nudge","id":"x","v":99}'):
        await admin.ask(subjects.inbox(key, "in"), body)
    waiting = await bus.inbox.pending(key)
    assert [(w.input, w.newer) for w in waiting] == [(None, True)] * 2
    assert [await asyncio.wait_for(arrived.get(), 5) for _ in waiting] == [True, True]
    stop, got = asyncio.Event(), list[bool]()

    async def handle(delivery: Delivery) -> None:
        got.append(delivery.newer)
        await delivery.ack()
        if len(got) == 2:
            stop.set()

    await asyncio.wait_for(bus.inbox.consume(FIRST_CELL, handle, stop, limit=8), 10)
    assert got == [True, True]
    await subscription.close()


async def test_a_commit_of_a_newer_version_is_left_out_of_following_and_told(
    bus: NatsBus, admin: JetStreamClient, key: Key
) -> None:
    other = Key("acme", new_session_id())
    await bus.log.append(other, said("one"), 0)
    await admin.ask(subjects.log(key), b'{"v":99,"id":"cmt_x","at":1,"by":"later","head":{},"events":[]}')
    with pytest.raises(Newer):
        await bus.log.head(key)
    with pytest.raises(Newer):
        await bus.log.read(key)
    told: list[Key] = []
    found: list[Key] = []
    async with aclosing(bus.log.follow(FIRST_CELL, on_newer=lambda newer, _: told.append(newer))) as batches:
        async for batch in batches:
            found += [each for each, _ in batch]
            if not batch:
                break
    assert (found, told) == ([other], [key])


async def test_a_hand_speaks_for_no_user_and_no_user_for_a_hand(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    """What is on the subject of the other is left out, whoever was able to publish it; it only moves the position."""
    said, result = client_input("I am the user"), CallResult(id=new_id("sevt"), generation="g", content=[])
    await admin.ask(subjects.inbox(key, "res"), codec.encode_input(said)[0])
    await admin.ask(subjects.inbox(key, "in"), codec.encode_input(result)[0])
    waiting = await bus.inbox.pending(key)
    assert [(w.source, w.input) for w in waiting] == [("res", None), ("in", None)]
    assert taken_after(Taken(), waiting) == Taken(inputs=waiting[1].seq, results=waiting[0].seq)


async def test_an_inbox_message_of_no_session_is_put_away(bus: NatsBus, admin: JetStreamClient, key: Key) -> None:
    for subject in ("in.a0.a", "in.a0.a.b.c", "res.a0.a.b", "in.a0.a.sesn_a1_x", "in.a0.a.b*c"):
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
    await admin.ask(subjects.log(key), b"not a commit")
    with pytest.raises(Damaged):
        await bus.log.read(key)
    with pytest.raises(Damaged):
        await bus.log.head(key)
