"""Replies, flushes and storage limits of a connection."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from holdfast.bus import codec, subjects
from holdfast.bus import events as ev
from holdfast.bus.api import Message
from holdfast.bus.commits import Stored, commit
from holdfast.bus.errors import StorageFull
from holdfast.bus.ids import FIRST_CELL, Key, new_id, new_session_id
from holdfast.bus.inputs import ClientInput
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.servers import NatsServer


async def test_an_answer_goes_to_an_inbox_and_nowhere_else(bus: NatsBus, admin: JetStreamClient) -> None:
    heard: list[bytes] = []
    served: list[bytes] = []

    async def handler(data: bytes) -> bytes:
        served.append(data)
        return b"answer"

    async def listener(message: Message) -> None:
        heard.append(message.data)

    await bus.core.subscribe("live.a0.default.x", listener)
    await bus.core.serve("cmd.hand.a0.release", handler)
    await admin.send("cmd.hand.a0.release", b"1", reply="live.a0.default.x")
    await admin.flush()
    assert await bus.core.request("cmd.hand.a0.release", b"2", timeout=5) == b"answer"
    assert served == [b"1", b"2"]
    assert await bus.core.request("cmd.hand.a0.release", b"3", timeout=5) == b"answer"
    assert heard == []


async def test_a_cancelled_flush_leaves_the_connection_alone(bus: NatsBus, admin: JetStreamClient) -> None:
    lost: list[bool] = []
    admin.on_reconnect.add(lambda: lost.append(True))
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

    await bus.core.subscribe("live.a0.default.x", listener)
    for number in range(50):
        await admin.send("live.a0.default.x", b"%d" % number)
        await admin.flush()
        await bus._client.flush()  # what the server had before is heard before its answer
        assert len(heard) == number + 1


async def test_a_delta_is_heard_before_the_commit_that_follows_it(bus: NatsBus, admin: JetStreamClient) -> None:
    """Else a stream shows the message and drops its deltas. A reader that was busy reads all three in one piece."""
    key, count = Key("default", new_session_id()), 20
    seen: list[str] = []

    async def delta(message: Message) -> None:
        seen.append(message.data.decode())

    async def follow(tail: AsyncGenerator[Stored | None]) -> None:
        async for stored in tail:
            if stored is not None:
                seen.append(f"commit {stored.seq}")  # noqa: PERF401  one by one, between the deltas

    async def live(seq: int) -> None:
        made = commit(None, [ev.UserInterrupt(id=new_id("sevt"))], by="test", new_id=new_id, now=seq)
        headers = {"Nats-Subject": subjects.log(key), "Nats-Sequence": str(seq), "Nats-Last-Sequence": str(seq - 1)}
        await admin.send(subjects.live(key), codec.encode_commit(made)[0], headers=headers)

    await bus.core.subscribe(subjects.delta(key), delta)
    tail = bus.log.tail(key)
    await anext(tail)
    following = asyncio.create_task(follow(tail))
    for number in range(1, 2 * count, 2):
        await live(number)
        await admin.send(subjects.delta(key), b"delta %d" % number)
        await live(number + 1)
        flushing = asyncio.create_task(admin.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.02)  # noqa: ASYNC251  busy
        await flushing
    await eventually(lambda: asyncio.sleep(0, len(seen) == 3 * count), what="everything")
    following.cancel()
    await asyncio.wait({following})
    for number in range(1, 2 * count, 2):
        assert seen.index(f"delta {number}") < seen.index(f"commit {number + 1}")


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
