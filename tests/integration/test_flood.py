"""Thousands of inputs for one session while it runs one long command: nothing lost, in order, memory bounded."""

import asyncio

import psutil
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from holdfast.bus.inputs import ClientInput
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.model import bash, say
from tests.support.stack import Stack, key

pytestmark = pytest.mark.timeout(300)

INPUTS = 10_000
AT_ONCE = 200
MEMORY_GROWTH_BYTES = 300 * 1024 * 1024

LARGE_FLOOD_BYTES = 100 * 1024 * 1024
LARGE_FLOOD_LIMIT_BYTES = 500 * 1024 * 1024
"""Resident memory of each harness while that much waits in one session, and is taken and summarised."""


async def test_a_flood_during_one_command_is_taken_whole_and_in_order(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(bash("while [ ! -e go ]; do sleep 0.1; done; echo gone"), say("All read."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("agent.tool_use")
    other = await Conversation.begin(client)
    names = [name for name in shared.run.processes if name.startswith("harness")]
    processes = [psutil.Process(shared.pid(name)) for name in names]
    before = [p.memory_info().rss for p in processes]
    most = list(before)
    async with shared.bus("session") as bus:
        sent: list[str] = []
        for start in range(0, INPUTS, AT_ONCE):
            inputs = [_said(f"number {n}") for n in range(start, start + AT_ONCE)]
            # One after the other, so that the order is known; the puts of a batch overlap only in their answers.
            tasks = [asyncio.create_task(bus.inbox.put(key(conversation.id), value)) for value in inputs]
            await asyncio.gather(*tasks)
            sent += [value.events[0].id for value in inputs]
            most = [max(m, p.memory_info().rss) for m, p in zip(most, processes, strict=True)]
        # The replica still serves others: no slot is held by the flood.
        await other.say(await shared.model.play(say("Here.")))
        await other.until_idle()
        assert len(await bus.inbox.pending(key(conversation.id))) == INPUTS + 1  # the trigger, which is open
    await conversation.interrupt()
    taken: list[str] = []

    async def all_taken() -> bool:
        async with shared.bus("session") as bus:
            commits = await bus.log.read(key(conversation.id))
        taken[:] = [e.id for s in commits for e in s.commit.events if isinstance(e, ev.UserMessage)][1:]
        most[:] = [max(m, p.memory_info().rss) for m, p in zip(most, processes, strict=True)]
        return len(taken) >= INPUTS

    await eventually(all_taken, within=120)
    assert taken == sent
    growth = max(m - b for m, b in zip(most, before, strict=True))
    assert growth < MEMORY_GROWTH_BYTES, f"a harness grew by {growth / 2**20:.0f} MiB"

    async def acked() -> bool:
        async with shared.bus("session") as bus:
            return not await bus.inbox.pending(key(conversation.id))

    await eventually(acked, within=120)


@pytest.mark.parametrize("size", [400_000, 100_000], ids=["as bodies", "in messages"])
async def test_large_messages_that_wait_in_one_session_do_not_fill_a_harness(
    shared: Stack, client: AsyncAnthropic, size: int
) -> None:
    mark = await shared.model.play(bash("while [ ! -e go ]; do sleep 0.1; done; echo gone"), say("All read."))
    conversation, other = await Conversation.begin(client), await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("agent.tool_use")
    session = key(conversation.id)
    names = [name for name in shared.run.processes if name.startswith("harness")]
    processes = [psutil.Process(shared.pid(name)) for name in names]
    most = [0] * len(processes)

    async def watch() -> None:
        while True:
            most[:] = [max(m, p.memory_info().rss) for m, p in zip(most, processes, strict=True)]
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with shared.bus("session") as bus:
        sent: list[str] = []
        seq = 0
        for number in range(LARGE_FLOOD_BYTES // size):
            value = _said(f"number {number} " + "x" * size)
            seq = await bus.inbox.put(session, value)
            sent += [e.id for e in value.events]
        await other.say(await shared.model.play(say("Here.")))
        await other.until_idle()
        await conversation.interrupt()

        async def at_rest() -> bool:
            last = await bus.log.head(session)
            head = last.commit.head if last else None
            return head is not None and head.taken.inputs >= seq and head.claim is None

        await eventually(at_rest, within=200)
        taken = [
            event.id
            async for page in bus.log.pages(session)
            for stored in page
            for event in stored.commit.events
            if isinstance(event, ev.UserMessage)
        ]
    watching.cancel()
    assert taken[1:] == sent
    assert [p.pid for p in processes] == [shared.pid(name) for name in names], "no harness has died"
    assert max(most) < LARGE_FLOOD_LIMIT_BYTES, f"a harness had {max(most) / 2**20:.0f} MiB"


def _said(text: str) -> ClientInput:
    message = ev.UserMessage(id=new_id("sevt"), content=[{"type": "text", "text": text}])
    return ClientInput(id=new_id("inp"), events=[message])
