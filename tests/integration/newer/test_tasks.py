"""A task whose binding or record a newer version has written is left to that version, and lost by nobody."""

import asyncio
import json
from typing import Any

import nats
from anthropic import AsyncAnthropic

from holdfast.bus import streams
from holdfast.bus.ids import new_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from tests.integration.newer.test_edge import refused
from tests.support.edge import SessionService
from tests.support.eventually import eventually
from tests.support.newer import newer_record


async def bound(client: AsyncAnthropic) -> str:
    """A new kind with a binding."""
    name = new_id("kind")
    agent = await client.beta.agents.create(model="m", name=name)
    environment = await client.beta.environments.create(name=name)
    body = {"kind": name, "agent": agent.id, "environment_id": environment.id, "message": "Do {{n}}."}
    await client.post("/v1/bindings", cast_to=object, body=body)
    return name


async def publish(edge: SessionService, kind: str, n: int) -> None:
    connection = await nats.connect(edge.nats.url)
    body = json.dumps({"n": n}).encode()
    await connection.jetstream().publish(f"task.default.{kind}", body, headers={"Nats-Msg-Id": f"{kind}-{n}"})
    await connection.close()


async def started(client: AsyncAnthropic, kind: str) -> Any:
    async def look() -> Any:
        found = [s async for s in client.beta.sessions.list() if s.metadata.get("task_kind") == kind]
        return found[0] if found else None

    return await eventually(look, what=f"a session of {kind}", within=20)


async def waiting(admin: JetStreamClient) -> int:
    info = await admin.api(f"STREAM.INFO.{streams.TASKS_STREAM}")
    return info["state"]["messages"]


async def test_a_task_of_a_newer_binding_waits_and_others_go_on(
    edge: SessionService, client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient
) -> None:
    kind, other = await bound(client), await bound(client)
    entry = await bus.kv.get("bindings", f"default.{kind}")
    assert entry
    assert entry.value
    await newer_record(bus, "bindings", f"default.{kind}")
    await refused(lambda: client.get(f"/v1/bindings/{kind}", cast_to=object))
    await refused(lambda: client.post(f"/v1/bindings/{kind}", cast_to=object, body={"title": "x"}))
    await publish(edge, kind, 1)
    await publish(edge, other, 1)
    await started(client, other)
    assert await waiting(admin) >= 1
    assert (await bus.tasks.dead("default", 0, limit=10))[0] == []
    await bus.kv.put("bindings", f"default.{kind}", entry.value)
    await started(client, kind)


async def test_a_newer_record_of_a_task_is_neither_done_nor_written_over(
    edge: SessionService, client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient
) -> None:
    kind = await bound(client)
    await publish(edge, kind, 1)
    session = await started(client, kind)
    task = session.metadata["task_id"]

    async def is_done() -> bool:
        return await waiting(admin) == 0

    await eventually(is_done, what="acknowledged")
    record = await newer_record(bus, "tasks", f"t.default.{task}")
    await refused(lambda: client.get(f"/v1/tasks/{task}", cast_to=object))
    await asyncio.sleep(0.3)  # longer than the duplicate window of the stream
    await publish(edge, kind, 1)
    edge.until_logged(task)
    assert await waiting(admin) == 1
    entry = await bus.kv.get("tasks", f"t.default.{task}")
    assert entry
    assert entry.value == record
    await bus.kv.delete("tasks", f"t.default.{task}")
