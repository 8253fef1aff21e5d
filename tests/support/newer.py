"""What a newer version of Holdfast would write: commits, inputs and records of version 99."""

import msgspec
from anthropic import AsyncAnthropic

from holdfast.bus import subjects
from holdfast.bus.api import Bus
from holdfast.bus.ids import Key, new_id
from holdfast.bus.jetstream.requests import JetStreamClient


async def newer_commit(admin: JetStreamClient, key: Key) -> None:
    """Append a commit to the session whose head and events have a shape that this version does not know."""
    data = {"v": 99, "id": new_id("cmt"), "at": 1, "by": "later", "head": {"shape": "new"}, "events": {"new": "shape"}}
    answer = await admin.ask(subjects.log(key), msgspec.json.encode(data))
    assert b"error" not in answer.data, answer.data


async def newer_input(admin: JetStreamClient, key: Key) -> str:
    """Put an input into the inbox of the session; its id."""
    data = {"v": 99, "type": "later", "id": new_id("inp"), "content": {"new": "shape"}}
    answer = await admin.ask(subjects.inbox(key, "in"), msgspec.json.encode(data), headers={"Nats-Msg-Id": data["id"]})
    assert b"error" not in answer.data, answer.data
    return data["id"]


async def newer_record(bus: Bus, bucket: str, key: str) -> bytes:
    """Make the record of that key one of version 99; its other fields stay. Returns the bytes that are stored now."""
    entry = await bus.kv.get(bucket, key)
    assert entry
    assert entry.value
    data = msgspec.json.encode({**msgspec.json.decode(entry.value), "v": 99, "later": [1]})
    await bus.kv.update(bucket, key, data, entry.revision)
    return data


async def new_session(client: AsyncAnthropic) -> str:
    """A session of an agent and an environment of its own."""
    name = new_id("test")
    agent = await client.beta.agents.create(model="claude-opus-4-6", name=name)
    environment = await client.beta.environments.create(name=name)
    return (await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)).id
