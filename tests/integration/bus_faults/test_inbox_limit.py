"""A session's inbox has room for INBOX_LIMIT_MESSAGES on each subject; here the limit is made small."""

import asyncio

import pytest

from holdfast.bus import streams
from holdfast.bus.api import Delivery
from holdfast.bus.errors import InboxFull
from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.inputs import Nudge
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.testing.contracts.helpers import client_input, consuming, result
from holdfast.testing.memory.bus import MemoryBus
from holdfast.testing.memory.server import MemoryServer

LIMIT = 3


@pytest.fixture(params=["memory", "nats"])
async def small(request: pytest.FixtureRequest, bus: NatsBus, admin: JetStreamClient) -> NatsBus | MemoryBus:
    """A bus whose inboxes take LIMIT messages a subject."""
    if request.param == "memory":
        memory = MemoryServer()
        memory.inbox_limit = LIMIT
        return MemoryBus(memory)
    inbox = next(c for c in streams.stream_configs() if c["name"] == streams.inbox_stream())
    assert inbox["max_msgs_per_subject"] == streams.INBOX_LIMIT_MESSAGES
    answer = await admin.api(f"STREAM.UPDATE.{inbox['name']}", {**inbox, "max_msgs_per_subject": LIMIT})
    assert "error" not in answer
    return bus


async def test_a_full_inbox_refuses_at_once_and_takes_again_when_it_has_room(
    small: NatsBus | MemoryBus, key: Key
) -> None:
    values = [client_input(str(number)) for number in range(LIMIT)]
    seqs = [await small.inbox.put(key, value) for value in values]
    for value in (client_input("one too many"), Nudge(id=new_id("ndg"))):
        async with asyncio.timeout(2):
            with pytest.raises(InboxFull):
                await small.inbox.put(key, value)
    assert await small.inbox.put(key, values[0]) == seqs[0], "what is stored already is no new message"
    assert await small.inbox.put(key, result()) > seqs[-1], "results have room of their own"
    assert await small.inbox.put(Key("acme", new_session_id()), client_input()), "so has another session"
    assert [p.seq for p in await small.inbox.pending(key)][:LIMIT] == seqs, "nothing was dropped for it"

    async def take(delivery: Delivery) -> None:
        await delivery.ack()

    async with consuming(small, take), asyncio.timeout(10):
        late = client_input("late")
        while True:
            try:
                assert await small.inbox.put(key, late)
                break
            except InboxFull:
                await asyncio.sleep(0.05)
