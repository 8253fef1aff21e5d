"""What was accepted while a session is at work is seen at once, and later once with its time (case Q01), on a stack."""

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id
from tests.support.conversation import Conversation, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import Json, bash, say
from tests.support.stack import Stack

WAITING: Json = {"type": "user.message", "content": [{"type": "text", "text": "And this?"}]}


class Work:
    """A session that is at work until `end`: in a model request, or in a command."""

    def __init__(self, stack: Stack, client: AsyncAnthropic, kind: str) -> None:
        self.stack = stack
        self.client = client
        self.kind = kind
        self.gate = new_id("gate")

    async def begin(self) -> Conversation:
        first = say("First.", gates=[{"name": self.gate, "after": 1}])
        steps = [first] if self.kind == "a model request" else [bash("until test -e go; do sleep 0.1; done")]
        mark = await self.stack.model.play(*steps, say("Second."), say("Third."))
        conversation = await Conversation.begin(self.client)
        await conversation.say(mark)
        if self.kind == "a model request":
            await self.stack.model.reached(self.gate)
        else:
            await conversation.until_events("agent.tool_use")
        return conversation

    async def end(self, conversation: Conversation) -> None:
        if self.kind == "a model request":
            await self.stack.model.release(self.gate)
            return
        workspace = self.stack.run.workspace(conversation.id)

        async def made() -> bool:
            return workspace.is_dir()

        await eventually(made, what="the workspace")
        (workspace / "go").touch()


@pytest.fixture(params=["a model request", "a command"])
def work(shared: Stack, client: AsyncAnthropic, request: pytest.FixtureRequest) -> Work:
    return Work(shared, client, request.param)


async def test_a_message_is_listed_while_it_waits_and_later_once_with_its_time(work: Work) -> None:
    conversation = await work.begin()
    before = await conversation.events()
    assert all(event.processed_at is not None for event in before)
    (queued,) = await conversation.send(WAITING)
    listed = await conversation.events()
    assert [event.id for event in listed if event.processed_at is None] == [queued]
    assert listed[-1].id == queued
    assert text(listed[-1]) == "And this?"
    (newest,) = (await work.client.beta.sessions.events.list(conversation.id, order="desc", limit=1)).data
    assert (newest.id, newest.processed_at) == (queued, None)
    assert [e.id for e in await conversation.events("user.message")][1:] == [queued]
    await work.end(conversation)
    events = await conversation.until_idle()
    (taken,) = [event for event in events if event.id == queued]
    assert taken.processed_at is not None
    at = events.index(taken)
    assert at >= len(before), "it stands where it was taken"
    assert events[at - 1].processed_at <= taken.processed_at <= events[at + 1].processed_at
    assert "agent.message" in [event.type for event in events[at:]], "it is answered"
    await check_invariants(work.stack, conversation)


async def test_all_that_waits_is_listed_in_the_order_in_which_it_is_taken(work: Work) -> None:
    conversation = await work.begin()
    queued = [id_ for n in range(3) for id_ in await conversation.send(WAITING, WAITING)]
    listed = await conversation.events()
    assert [event.id for event in listed if event.processed_at is None] == queued
    await work.end(conversation)
    events = await conversation.until_idle()
    assert [event.id for event in events if event.type == "user.message"][1:] == queued
    await check_invariants(work.stack, conversation)


async def test_an_interrupt_takes_what_waits_with_it(work: Work) -> None:
    conversation = await work.begin()
    (queued,) = await conversation.send(WAITING)
    await conversation.interrupt()
    events = await conversation.until_idle()
    assert [event.id for event in events if event.processed_at is None] == []
    assert [event.id for event in events].count(queued) == 1
    await work.end(conversation)
    await check_invariants(work.stack, conversation)
