"""The session service dies while it carries out tasks: each one reaches one session, once, or is kept as a dead one."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from anthropic import APIError, AsyncAnthropic
from nats.aio.client import Client
from nats.errors import Error as NatsError

from tests.faults.conftest import Start
from tests.support.conversation import MODEL, TOOLSET, Conversation, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import say
from tests.support.stack import Stack

KIND = "work"

MESSAGE = "[play:{{mark}}] number {{n}}"

POINTS = ("task.let_in", "task.key_made", "task.recorded", "task.session_made", "task.input_put", "task.done")


def _login(path: str) -> dict[str, str]:
    return json.loads(Path(path).read_text())


@asynccontextmanager
async def publishing(stack: Stack) -> AsyncIterator[Client]:
    """A connection of another system, with the rights of one."""
    login = _login(stack.run.credentials["publisher"])
    client = await nats.connect(stack.run.nats_url, inbox_prefix=b"_INBOX_publisher", **login)
    try:
        yield client
    finally:
        await client.close()


async def publish(client: Client, mark: str, n: int, key: int) -> None:
    body = json.dumps({"mark": mark, "n": n, "key": key}).encode()
    await client.jetstream().publish(f"task.default.{KIND}", body, headers={"Nats-Msg-Id": f"{KIND}-{n}"})


async def bind(client: AsyncAnthropic, max_open: int = 100) -> None:
    agent = await client.beta.agents.create(model=MODEL, name="a", tools=[TOOLSET])  # type: ignore[list-item]
    environment = await client.beta.environments.create(name="e")
    body = {
        "kind": KIND, "agent": agent.id, "environment_id": environment.id, "message": MESSAGE, "session_key": "{{key}}",
        "max_open": max_open,
    }  # fmt: skip
    await client.post("/v1/bindings", cast_to=object, body=body)


async def sessions(client: AsyncAnthropic) -> list[Any]:
    listed = client.beta.sessions.list(limit=100, include_archived=True)
    return [s async for s in listed if s.metadata.get("task_kind") == KIND]


async def messages(client: AsyncAnthropic) -> dict[str, list[str]]:
    """The messages of each session that tasks have started."""
    found: dict[str, list[str]] = {}
    for session in await sessions(client):
        events = await Conversation(client, session.id).events("user.message")
        found[session.id] = [text(event) for event in events]
    return found


async def wait_for(client: AsyncAnthropic, count: int) -> dict[str, list[str]]:
    """Wait until sessions have that many messages in all; then look a moment longer whether more come."""

    async def look() -> bool:
        try:
            return sum(map(len, (await messages(client)).values())) >= count
        except APIError:  # the service is on its way back
            return False

    await eventually(look, within=60, what=f"{count} messages")
    await asyncio.sleep(7)  # longer than the ack_wait of the queue
    return await messages(client)


@pytest.mark.parametrize("point", POINTS)
async def test_a_task_is_carried_out_once(start: Start, point: str) -> None:
    """With one place, which the task has still when its process dies."""
    stack = start(faults={"session": f"{point}:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(say("Done."))
    async with stack.client() as client, publishing(stack) as publisher:
        await bind(client, max_open=1)
        await publish(publisher, mark, 1, 1)
        await stack.replaced("session", old)
        found = await wait_for(client, 1)
        assert list(found.values()) == [[f"[play:{mark}] number 1"]]
        conversation = Conversation(client, next(iter(found)))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 1


@pytest.mark.parametrize("point", ["task.buried", "task.dead"])
async def test_a_task_without_a_binding_is_kept_once_and_can_be_sent_again(start: Start, point: str) -> None:
    stack = start(faults={"session": f"{point}:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(say("Done."))
    async with stack.client() as client, publishing(stack) as publisher:
        await publish(publisher, mark, 1, 1)
        await stack.replaced("session", old)

        async def dead() -> list[Any]:
            answer: Any = await client.get("/v1/tasks", cast_to=object)
            return answer["data"]

        await eventually(dead, what="a dead task")
        await asyncio.sleep(7)
        (task,) = await dead()
        assert task["reason"] == "unbound"
        await bind(client)
        await client.post(f"/v1/tasks/{task['id']}/resend", cast_to=object)
        found = await wait_for(client, 1)
        assert list(found.values()) == [[f"[play:{mark}] number 1"]]
        assert await dead() == []


async def test_a_task_that_is_handed_over_again_as_its_edge_died_is_one(start: Start) -> None:
    """One over HTTP and one as a NATS request: both are stored when the service dies, or one, and no answer comes."""
    stack = start(faults={"session": "task.stored:kill"})
    old = stack.pid("session")
    mark = await stack.model.play(*[say("Done.")] * 2)

    def body(n: int) -> dict[str, Any]:
        return {"mark": mark, "n": n, "key": n}

    async with stack.client(retries=0) as client, publishing(stack) as publisher:

        async def over_http() -> str:
            headers = {"Idempotency-Key": "one"}
            answer: Any = await client.post(
                f"/v1/tasks/{KIND}", cast_to=object, body=body(1), options={"headers": headers}
            )
            return answer["state"]

        async def by_request() -> str:
            data = json.dumps(body(2)).encode()
            answer = await publisher.request(f"ask.default.{KIND}", data, headers={"Nats-Msg-Id": "two"}, timeout=5)
            return json.loads(answer.data).get("state", "")

        await bind(client)
        states = await asyncio.gather(repeated(over_http), repeated(by_request))
        assert stack.pid("session") != old, "it died, and somebody has sent his task again"
        assert set(states) <= {"open", "done"}
        found = await wait_for(client, 2)
        assert sorted(found.values()) == [[f"[play:{mark}] number 1"], [f"[play:{mark}] number 2"]]


async def repeated(send: Callable[[], Awaitable[str]]) -> str:
    """The first answer, as a sender gets it who repeats what was not answered."""

    async def once() -> str:
        try:
            return await send()
        except (APIError, NatsError):
            return ""

    return await eventually(once, within=60, what="an answer")


async def test_tasks_under_kills_at_any_moment(start: Start) -> None:
    """Sixty tasks for ten keys, published twice each, while the service is killed again and again."""
    stack = start()
    mark = await stack.model.play(*[say("Done.")] * 20)
    draw = random.Random(7)
    async with stack.client(retries=5) as client, publishing(stack) as publisher:
        await bind(client)
        for n in range(60):
            await publish(publisher, mark, n, n % 10)
            if n % 12 == 5:
                await asyncio.sleep(draw.random() * 0.1)
                old = stack.kill("session")
                for again in range(n - 5, n + 1):
                    await publish(publisher, mark, again, again % 10)
                await stack.replaced("session", old)
        found = await wait_for(client, 60)
        assert len(found) == 10
        got = sorted(message for each in found.values() for message in each)
        assert got == sorted(f"[play:{mark}] number {n}" for n in range(60))
        conversations = [Conversation(client, session) for session in found]
        for conversation in conversations:
            await conversation.until_idle(within=90)
        await check_invariants(stack, *conversations)
