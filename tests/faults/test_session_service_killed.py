"""The session service dies in mid-request. What it acknowledged is kept; what it did not is whole or absent."""

import anthropic
import pytest
from anthropic import AsyncAnthropic

from tests.faults.conftest import Start
from tests.support.conversation import Talk
from tests.support.invariants import check
from tests.support.model import said, say
from tests.support.workload import finished, job


async def _failing_send(client: AsyncAnthropic, talk: Talk, mark: str) -> None:
    with pytest.raises(anthropic.APIConnectionError):
        await talk.say(mark)


async def test_a_message_that_was_not_stored_is_simply_sent_again(start: Start) -> None:
    stack = start(faults={"session": "session.before_input:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(*job())
    async with stack.client(retries=0) as client:
        talk = await Talk.begin(client)
        await _failing_send(client, talk, mark)
        await stack.replaced("session", old)
        assert await talk.events() == []
        await talk.say(mark)
        await finished(stack, talk, mark)


async def test_a_message_that_was_stored_is_answered_although_nobody_said_so(start: Start) -> None:
    stack = start(faults={"session": "session.input:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(*job())
    async with stack.client(retries=0) as client:
        talk = await Talk.begin(client)
        await _failing_send(client, talk, mark)
        await stack.replaced("session", old)
        events = await finished(stack, talk, mark)
        assert [e.type for e in events].count("user.message") == 1


async def test_an_incomplete_session_does_not_stay(start: Start) -> None:
    stack = start(faults={"session": "session.created:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(say("Hello."))
    async with stack.client(retries=0) as client:
        agent = await client.beta.agents.create(model="m", name="a")
        environment = await client.beta.environments.create(name="e")
        first = [said(mark)]
        with pytest.raises(anthropic.APIConnectionError):
            await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=first)
        await stack.replaced("session", old)
        listed = [s async for s in client.beta.sessions.list()]
        assert [s.status for s in listed] in ([], ["idle"])
        made = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id, initial_events=first)
        talk = Talk(client, made.id)
        await talk.has("session.status_idle")
        await check(stack, talk)


async def test_a_watcher_that_connects_again_sees_everything(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*job(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        talk = await Talk.begin(client)
        seen: dict[str, str] = {}
        with pytest.raises(Exception):  # noqa: B017, PT011, PT012  whatever a broken connection raises
            async with await client.beta.sessions.events.stream(talk.id) as stream:
                await talk.say(mark)
                await stack.model.reached("middle")
                old = stack.kill("session")
                async for event in stream:
                    seen[event.id] = event.type
                raise ConnectionError("the stream ended")
        await stack.replaced("session", old)
        async with await client.beta.sessions.events.stream(talk.id) as stream:
            for event in await talk.events():
                seen.setdefault(event.id, event.type)
            await stack.model.release("middle")
            async for event in stream:
                seen.setdefault(event.id, event.type)
                if event.type == "session.status_idle":
                    break
        events = await finished(stack, talk, mark)
        assert seen == {e.id: e.type for e in events}
