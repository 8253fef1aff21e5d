"""Archiving and deleting sessions through the official SDK.

Where a session must be at work or wait for its client, the test writes the log that a harness would.
"""

import asyncio

import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus import commands, subjects
from holdfast.bus import events as ev
from holdfast.bus.api import Message
from holdfast.bus.head import Claim
from holdfast.bus.ids import FIRST_CELL, Key, new_id
from holdfast.bus.jetstream.client import NatsBus
from tests.support.session_log import SessionLog
from tests.support.session_requests import SAY, list_events


async def test_a_running_session_can_neither_be_archived_nor_deleted(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = SessionLog(bus, session)
    await client.beta.sessions.events.send(session, events=[SAY])  # type: ignore[list-item]
    for refused in (client.beta.sessions.archive, client.beta.sessions.delete):
        with pytest.raises(anthropic.BadRequestError, match="running"):
            await refused(session)
    await log.running()
    for refused in (client.beta.sessions.archive, client.beta.sessions.delete):
        with pytest.raises(anthropic.BadRequestError, match="running") as caught:
            await refused(session)
        assert caught.value.type == "invalid_request_error"
    waits = ev.ThreadStatusRescheduled(id=new_id("sevt"), agent_name="a", session_thread_id="sthr_1", retry_at=1)
    await log.write(waits, ev.SessionStatusRescheduled(id=new_id("sevt")), claim=None)
    with pytest.raises(anthropic.BadRequestError, match="interrupt"):
        await client.beta.sessions.archive(session)
    assert (await client.beta.sessions.retrieve(session)).status in ("rescheduling", "running")


async def test_archiving_ends_a_session_for_good(client: AsyncAnthropic, bus: NatsBus, session: str) -> None:
    heard: asyncio.Queue[commands.Release] = asyncio.Queue()

    async def hear(message: Message) -> None:
        heard.put_nowait(msgspec.json.decode(message.data, type=commands.Release))

    listening = await bus.core.subscribe(subjects.release(FIRST_CELL), hear)
    log = SessionLog(bus, session)
    mine, asked = await log.asks(custom=1, ask=1)
    assert (await client.beta.sessions.retrieve(session)).status == "idle"
    found = await client.beta.sessions.archive(session)
    assert found.status == "terminated"
    assert found.archived_at is not None
    again = await client.beta.sessions.archive(session)
    assert again.archived_at == found.archived_at
    closed = [e for e in await list_events(client, session) if e.type == "agent.tool_result"]
    assert [e.tool_use_id for e in closed] == [mine, asked]
    assert all(e.is_error for e in closed)
    assert [e.type for e in await list_events(client, session)][-2:] == [
        "session.thread_status_terminated",
        "session.status_terminated",
    ]
    release = await asyncio.wait_for(heard.get(), 5)
    assert (release.session, release.files) == (session, False)
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await client.beta.sessions.events.send(session, events=[SAY])  # type: ignore[list-item]
    with pytest.raises(anthropic.BadRequestError, match="archived"):
        await client.beta.sessions.update(session, title="t")
    assert session not in [s.id async for s in client.beta.sessions.list()]
    await client.beta.sessions.delete(session)
    await listening.close()


async def test_a_deleted_session_is_gone_and_its_streams_end(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    async with await client.beta.sessions.events.stream(session) as stream:
        answer = await client.beta.sessions.delete(session)
        assert (answer.id, answer.type) == (session, "session_deleted")
        assert [e.type async for e in stream] == ["session.deleted"]
    for call in (
        client.beta.sessions.retrieve(session),
        client.beta.sessions.archive(session),
        client.beta.sessions.delete(session),
        client.beta.sessions.events.send(session, events=[SAY]),  # type: ignore[list-item]
        client.beta.sessions.events.stream(session),
        list_events(client, session),
    ):
        with pytest.raises(anthropic.NotFoundError):
            await call
    assert session not in [s.id async for s in client.beta.sessions.list(include_archived=True)]
    last = await bus.log.head(Key("default", session))
    assert last is not None, "the log keeps a tombstone"


async def test_a_session_that_is_held_for_a_moment_is_archived_when_it_is_let_go(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = SessionLog(bus, session)
    await log.write(ev.UserInterrupt(id=new_id("sevt")), claim=Claim(id="clm_1", by="test", trigger=1))
    archiving = asyncio.create_task(client.beta.sessions.archive(session))
    await asyncio.sleep(0)
    await log.write(claim=None)
    assert (await archiving).status == "terminated"
