"""Tasks with two replicas of the session service: one is frozen in the middle, and NATS dies under both."""

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nats
import pytest
from anthropic import Anthropic

from tests.support.edge import SessionService, replica, session_service
from tests.support.eventually import eventually
from tests.support.tasks import messages_of, sessions_of, started

KIND = "shared"


def bind(sync: Anthropic, **fields: Any) -> None:
    agent = sync.beta.agents.create(model="m-1", name="a").id
    environment = sync.beta.environments.create(name="e").id
    body = {"kind": KIND, "agent": agent, "environment_id": environment, "message": "Do {{n}}.", **fields}
    sync.post("/v1/bindings", cast_to=object, body=body)


async def publish(edge: SessionService, numbers: range) -> None:
    client = await nats.connect(edge.nats.url)
    stream = client.jetstream(timeout=10)
    try:
        for n in numbers:
            body = json.dumps({"n": n, "key": n % 5}).encode()
            await stream.publish(f"task.default.{KIND}", body, headers={"Nats-Msg-Id": f"{KIND}-{n}"})
    finally:
        await client.close()


async def all_messages(sync: Anthropic, count: int) -> Counter[str]:
    """How often each message came, once there are `count` in all."""

    async def look() -> Counter[str]:
        got = Counter(text for session in sessions_of(sync, KIND) for text in messages_of(sync, session.id))
        return got if got.total() >= count else Counter()

    return await eventually(look, what=f"{count} messages", within=40)


@pytest.mark.parametrize(
    "point", ["task.let_in", "task.key_made", "task.recorded", "task.session_made", "task.input_put"]
)
async def test_a_frozen_replica_does_nothing_twice(tmp_path: Path, point: str) -> None:
    """Another one takes the task over at ack_wait; then the frozen one goes on where it was."""
    (tmp_path / "second").mkdir()
    with session_service(tmp_path, {"HOLDFAST_FAULT": f"{point}:stop"}) as edge:
        bind(edge.client(), session_key="{{key}}")
        await publish(edge, range(1))
        deadline = time.monotonic() + 20
        while Path(f"/proc/{edge.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":  # noqa: ASYNC240
            assert time.monotonic() < deadline, "it did not stop"
        with replica(edge, tmp_path / "second") as second:
            sync = second.client()
            await started(sync, KIND)
            os.kill(edge.pid, signal.SIGCONT)
            await publish(edge, range(1, 6))
            assert await all_messages(sync, 6) == Counter(f"Do {n}." for n in range(6))
            assert len(sessions_of(sync, KIND)) == 5


async def test_two_replicas_share_the_work_and_nats_dies(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with session_service(tmp_path) as edge, replica(edge, tmp_path / "second"):
        sync = edge.client()
        bind(sync, session_key="{{key}}")
        await publish(edge, range(60))
        await publish(edge, range(20, 80))
        edge.nats.kill()
        edge.nats.start_now()
        await publish(edge, range(40, 100))
        assert await all_messages(sync, 100) == Counter(f"Do {n}." for n in range(100))
        assert len(sessions_of(sync, KIND)) == 5
