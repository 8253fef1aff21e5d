"""What a newer version has written is 503 at the edge, never 400 or 404; a lost body is 500."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import streams
from holdfast.bus.ids import Key
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.jetstream.requests import JetStreamClient
from holdfast.process.api_keys import new_api_key
from holdfast.session.http import api_keys
from holdfast.session.http.key_record import BUCKET, digest
from tests.support.edge import SessionService, envelope, session_service
from tests.support.eventually import eventually
from tests.support.newer import new_session, newer_commit, newer_record
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY


async def refused(request: Callable[[], Awaitable[Any]]) -> None:
    """The request must be answered 503 with the cause, and may be repeated."""
    with pytest.raises(anthropic.APIStatusError) as caught:
        await request()
    response: Any = caught.value.response  # of httpx2, the transport of the SDK
    if not response.is_stream_consumed:
        await response.aread()
    assert "newer version" in envelope(response, 503, "api_error")
    assert response.headers["retry-after"] == "1"
    assert "x-should-retry" not in response.headers


async def test_a_session_with_a_newer_commit_is_unavailable_and_the_others_go_on(
    edge: SessionService, client: AsyncAnthropic, admin: JetStreamClient
) -> None:
    session, other = await new_session(client), await new_session(client)
    await newer_commit(admin, Key("default", session))
    sessions = client.beta.sessions
    await refused(lambda: sessions.retrieve(session))
    await refused(lambda: sessions.update(session, title="t"))
    await refused(lambda: sessions.events.send(session, events=[SAY]))  # type: ignore[list-item]

    async def listed_events() -> None:
        await sessions.events.list(session)

    await refused(listed_events)
    await refused(lambda: sessions.archive(session))
    await refused(lambda: sessions.delete(session))
    assert (await sessions.retrieve(other)).id == other
    third = await new_session(client)

    async def listed() -> bool:
        return {session, other, third} <= {s.id async for s in sessions.list()}

    await eventually(listed, what="the list goes on past the newer commit")
    lines = [line for line in edge.log.read_text().splitlines() if "lists lack commits" in line]
    assert len(lines) == 1, lines


async def test_an_open_stream_ends_when_a_newer_commit_comes(
    client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient
) -> None:
    session = await new_session(client)
    log = SessionLog(bus, session)
    seen: list[str] = []
    async with await client.beta.sessions.events.stream(session) as stream:
        await log.says("before")
        async for event in stream:
            seen.append(event.type)
            if event.type == "agent.message":
                await newer_commit(admin, Key("default", session))
    assert seen == ["agent.message"]
    await refused(lambda: client.beta.sessions.events.stream(session))


async def test_newer_agents_and_environments_are_unavailable(client: AsyncAnthropic, bus: NatsBus) -> None:
    agent = await client.beta.agents.create(model="m", name="newer")
    environment = await client.beta.environments.create(name="newer")
    kept = await client.beta.agents.create(model="m", name="kept")
    home = await client.beta.environments.create(name="kept")
    agent_record = await newer_record(bus, "agents", f"default.{agent.id}")
    environment_record = await newer_record(bus, "envs", f"default.{environment.id}")
    await refused(lambda: client.beta.agents.retrieve(agent.id))
    await refused(lambda: client.beta.agents.update(agent.id, version=1, name="x"))
    await refused(lambda: client.beta.agents.archive(agent.id))
    await refused(lambda: client.beta.environments.retrieve(environment.id))
    await refused(lambda: client.beta.environments.delete(environment.id))
    sessions = client.beta.sessions
    await refused(lambda: sessions.create(agent=agent.id, environment_id=home.id))
    await refused(lambda: sessions.create(agent=kept.id, environment_id=environment.id))
    assert (await sessions.create(agent=kept.id, environment_id=home.id)).id
    for bucket, key, record in (
        ("agents", f"default.{agent.id}", agent_record),
        ("envs", f"default.{environment.id}", environment_record),
    ):
        entry = await bus.kv.get(bucket, key)
        assert entry
        assert entry.value == record, "nothing has written over it"

    async def listed() -> None:
        await client.beta.agents.list()

    await refused(listed)
    await bus.kv.delete("agents", f"default.{agent.id}")
    await bus.kv.delete("envs", f"default.{environment.id}")


async def test_a_newer_api_key_is_neither_valid_nor_wrong(edge: SessionService, bus: NatsBus) -> None:
    key = new_api_key()
    await api_keys.install(bus.kv, key, tenant="other", name="test", now=0)
    await newer_record(bus, BUCKET, digest(key))
    async with httpx.AsyncClient(base_url=edge.base_url, headers={"x-api-key": key}) as http:

        async def unavailable() -> bool:
            return (await http.get("/v1/agents")).status_code == 503

        await eventually(unavailable, what="the watch has heard of the newer record", within=5)
        answer = await http.get("/v1/agents")
    assert "newer version" in envelope(answer, 503, "api_error")


async def test_a_lost_body_is_an_error_of_the_server_and_no_missing_session(
    client: AsyncAnthropic, bus: NatsBus, admin: JetStreamClient
) -> None:
    session = await new_session(client)
    await SessionLog(bus, session).says("x" * 300_000)
    await admin.api(f"STREAM.PURGE.{streams.blob_stream()}")
    assert (await client.beta.sessions.retrieve(session)).id == session
    with pytest.raises(anthropic.InternalServerError) as caught:
        await client.beta.sessions.events.list(session)
    response: Any = caught.value.response
    envelope(response, 500, "api_error")
    assert response.headers["x-should-retry"] == "false"


async def test_a_configuration_whose_body_is_lost_stops_no_list(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with session_service(tmp_path, {"HOLDFAST_SESSION_DATA": str(data)}) as own:
        async with own.async_client(max_retries=0) as client:
            large = await client.beta.agents.create(model="m", name="large", system="é" * 90_000)
            environment = await client.beta.environments.create(name="e")
            lost = await client.beta.sessions.create(agent=large.id, environment_id=environment.id)
            small = await client.beta.agents.create(model="m", name="small")
            kept = await client.beta.sessions.create(agent=small.id, environment_id=environment.id)
            assert {s.id async for s in client.beta.sessions.list()} == {lost.id, kept.id}
        own.kill()
        admin = JetStreamClient()
        await admin.open([own.nats.url], name="admin", login=None)
        await admin.api(f"STREAM.PURGE.{streams.blob_stream()}")
        await admin.close()
        for file in data.iterdir():
            file.unlink()
        own.start()
        async with own.async_client(max_retries=0) as client:
            assert [s.id async for s in client.beta.sessions.list()] == [kept.id]
            with pytest.raises(anthropic.InternalServerError) as caught:
                await client.beta.sessions.retrieve(lost.id)
        response: Any = caught.value.response
        envelope(response, 500, "api_error")
        assert own.log.read_text().count("session left out of lists") == 1
