"""The session service dies during a request: acknowledged events are kept, others are stored as a whole or not."""

from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import FIRST_CELL, Key
from holdfast.bus.jetstream.client import NatsBus
from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants
from tests.support.model import said, say
from tests.support.workload import workload, workload_finished


async def _failing_send(client: AsyncAnthropic, conversation: Conversation, mark: str) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        await conversation.say(mark)


async def _sessions_in_the_log(bus: NatsBus) -> set[Key]:
    found: set[Key] = set()
    async for batch in bus.log.follow(FIRST_CELL):
        if not batch:  # everything stored so far has been yielded
            break
        found |= {key for key, _ in batch}
    return found


async def test_a_message_that_was_not_stored_can_be_sent_again(start: Start) -> None:
    stack = start(faults={"session": "session.before_input:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(*workload())
    async with stack.client(retries=0) as client:
        conversation = await Conversation.begin(client)
        await _failing_send(client, conversation, mark)
        await stack.replaced("session", old)
        assert await conversation.events() == []
        await conversation.say(mark)
        await workload_finished(stack, conversation, mark)


async def test_a_stored_message_is_answered_although_the_client_got_an_error(start: Start) -> None:
    stack = start(faults={"session": "session.input:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(*workload())
    async with stack.client(retries=0) as client:
        conversation = await Conversation.begin(client)
        await _failing_send(client, conversation, mark)
        await stack.replaced("session", old)
        events = await workload_finished(stack, conversation, mark)
        assert [e.type for e in events].count("user.message") == 1


async def test_an_incomplete_session_is_never_listed(start: Start) -> None:
    """The service dies between the creation commit and the first input; a client then creates the session again."""
    stack = start(faults={"session": "session.created:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(say("Hello."))
    async with stack.client(retries=0) as client:
        agent = await client.beta.agents.create(model="m", name="a")
        environment = await client.beta.environments.create(name="e")
        first: Any = [said(mark)]
        with pytest.raises(anthropic.APIConnectionError):
            await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=first)
        await stack.replaced("session", old)
        async with stack.bus() as bus:
            (stored,) = await _sessions_in_the_log(bus)
        assert [s.id async for s in client.beta.sessions.list(include_archived=True)] == []
        made = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=first)
        assert made.id != stored.session
        assert [s.id async for s in client.beta.sessions.list(include_archived=True)] == [made.id]
        conversation = Conversation(client, made.id)
        await conversation.until_events("session.status_idle")
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 1, "the task of the incomplete session was given to the model"


async def test_a_viewer_that_reconnects_sees_every_event(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        seen: dict[str, str] = {}
        old = stack.pid("session")
        with pytest.raises(Exception):  # noqa: B017, PT011, PT012  whatever a broken connection raises
            async with await client.beta.sessions.events.stream(conversation.id) as stream:
                await conversation.say(mark)
                await stack.model.reached("middle")
                stack.kill("session")
                async for event in stream:
                    assert event.type != "event_start"
                    assert event.type != "event_delta"
                    seen[event.id] = event.type
                raise ConnectionError("the stream ended")
        await stack.replaced("session", old)
        async with await client.beta.sessions.events.stream(conversation.id) as stream:
            for event in await conversation.events():
                seen.setdefault(event.id, event.type)
            await stack.model.release("middle")
            async for event in stream:
                assert event.type != "event_start"
                assert event.type != "event_delta"
                seen.setdefault(event.id, event.type)
                if event.type == "session.status_idle":
                    break
        events = await workload_finished(stack, conversation, mark)
        assert seen == {e.id: e.type for e in events}
