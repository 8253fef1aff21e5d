"""Deliveries of a process whose event loop is busy, and deliveries that are larger than one pull request brings."""

import asyncio
import time

from holdfast.bus import streams
from holdfast.bus.api import Delivery
from holdfast.bus.ids import Key, new_session_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.consumer import PULL_BYTES
from holdfast.bus.jetstream.life_thread import STALL_LIMIT_S, is_due
from holdfast.testing.contracts.helpers import client_input, consuming
from tests.support.eventually import eventually

BODY_BYTES = 100_000
INPUTS = 3 * PULL_BYTES // BODY_BYTES
BUSY_S = 3 * streams.ACK_WAIT_S


async def test_a_busy_event_loop_does_not_lose_its_deliveries(bus: NatsBus, key: Key) -> None:
    counts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        counts.append(delivery.count)
        if len(counts) == 1:
            await asyncio.sleep(1)  # the thread has its connection
            time.sleep(BUSY_S)  # noqa: ASYNC251  it is meant to block the loop
            await asyncio.sleep(1)
        await delivery.ack()

    async def acked() -> bool:
        return not await bus.inbox.pending(key)

    async with consuming(bus, handle):
        await bus.inbox.put(key, client_input())
        await eventually(acked, within=20)
    assert counts == [1]


def test_a_loop_that_stands_still_for_long_gets_no_signs_of_life_any_more() -> None:
    assert [is_due(s) for s in (0, streams.IN_PROGRESS_INTERVAL_S, streams.ACK_WAIT_S / 2, STALL_LIMIT_S)] == [
        False,
        False,
        True,
        False,
    ]


async def test_more_than_a_pull_request_brings_is_delivered_without_a_pause(bus: NatsBus) -> None:
    seen: list[int] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery.count)
        await delivery.ack()

    inputs = [client_input("x" * BODY_BYTES) for _ in range(INPUTS)]
    for value in inputs:
        await bus.inbox.put(Key("acme", new_session_id()), value)
    began = asyncio.get_running_loop().time()

    async def all_delivered() -> bool:
        return len(seen) >= INPUTS

    async with consuming(bus, handle, limit=1000):
        await eventually(all_delivered, within=30)
    assert seen == [1] * INPUTS
    assert asyncio.get_running_loop().time() - began < 20, "no pull request waited for its end"
