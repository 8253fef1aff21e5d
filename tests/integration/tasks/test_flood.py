"""A flood of tasks that nobody wants: few letters are written, and the rest waits in the queue."""

import asyncio
import json
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from holdfast.session.tasks.letter_rate import LETTERS_AT_ONCE
from tests.support.edge import session_service
from tests.support.eventually import eventually
from tests.support.tasks import died, sessions_of, started

MANY = int(LETTERS_AT_ONCE) + 30


async def publish(client: Client, kind: str, n: int) -> None:
    body = json.dumps({"n": n}).encode()
    await client.jetstream().publish(f"task.default.{kind}", body, headers={"Nats-Msg-Id": f"{kind}-{n}"})


async def waiting(client: Client) -> int:
    return (await client.jetstream().stream_info("TASKS")).state.messages


async def test_tasks_without_a_binding_wait_once_there_are_too_many(tmp_path: Path) -> None:
    with session_service(tmp_path) as edge, edge.http() as http:
        sync = edge.client()
        agent = sync.beta.agents.create(model="m-1", name="a").id
        environment = sync.beta.environments.create(name="e").id

        def bind(kind: str) -> None:
            body: dict[str, Any] = {"kind": kind, "agent": agent, "environment_id": environment, "message": "Do {{n}}."}
            assert http.post("/v1/bindings", json=body).status_code == 200

        client = await nats.connect(edge.nats.url)
        try:
            bind("known")
            for n in range(MANY):
                await publish(client, f"flood{n % 3}", n)

            async def settled() -> bool:
                return await waiting(client) <= 32

            await eventually(settled, what="letters of the first ones", within=20)
            await asyncio.sleep(1)
            assert 25 <= await waiting(client) <= 30, "the others wait"
            await publish(client, "known", 1)
            await started(sync, "known")
            listed = [
                task for kind in ("flood0", "flood1", "flood2") for task in await asyncio.to_thread(dead_of, http, kind)
            ]
            assert {task["reason"] for task in listed} == {"unbound"}
            assert int(LETTERS_AT_ONCE) <= len(listed) <= int(LETTERS_AT_ONCE) + 5

            for n in range(3):
                bind(f"flood{n}")

            async def carried_out() -> bool:
                found = await asyncio.to_thread(lambda: sum(len(sessions_of(sync, f"flood{n}")) for n in range(3)))
                return found >= MANY - len(listed)

            await eventually(carried_out, what="what waited is carried out", within=30)
            assert await waiting(client) == 0
            info = await client.jetstream().stream_info("DEAD_TASKS", subjects_filter=">")
            assert set(info.state.subjects or {}) == {"dead.default._unbound"}
        finally:
            await client.close()
        await died(http, "known", 0)


def dead_of(http: Any, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = ""
    while True:
        answer = http.get(f"/v1/tasks?limit=100{page}").json()
        found += [task for task in answer["data"] if task["kind"] == kind]
        if not answer["next_page"]:
            return found
        page = f"&page={answer['next_page']}"
