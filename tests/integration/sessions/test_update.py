"""Updates of sessions through the official SDK, also beside a harness that appends.

Where a session must be at work, the test writes the log that a harness would.
"""

import asyncio

import anthropic
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.jetstream.client import NatsBus
from tests.support.session_log import SessionLog
from tests.support.session_requests import TOOL, list_events


async def test_an_update_is_told_with_only_what_changed(client: AsyncAnthropic, session: str) -> None:
    await client.beta.sessions.update(session, title="one")
    await client.beta.sessions.update(session, metadata={"a": "1", "b": "2"})
    await client.beta.sessions.update(session, metadata={"a": None, "c": "3"})
    await client.beta.sessions.update(session, title="one", metadata={"c": "3"})
    await client.beta.sessions.update(session, title=None)
    await client.beta.sessions.update(session, metadata={"b": None, "c": None})
    found = await client.beta.sessions.retrieve(session)
    assert (found.title, found.metadata) == (None, {})
    told = [e.to_dict() for e in await list_events(client, session)]
    assert [e["type"] for e in told] == ["session.updated"] * 5, "an update that changes nothing is not told"
    changed = [{k: v for k, v in e.items() if k not in ("id", "type", "processed_at")} for e in told]
    assert changed == [
        {"title": "one"},
        {"metadata": {"a": "1", "b": "2"}},
        {"metadata": {"b": "2", "c": "3"}},
        {"title": None},
        {},
    ]


async def test_tools_change_only_while_the_session_rests(client: AsyncAnthropic, bus: NatsBus, session: str) -> None:
    log = SessionLog(bus, session)
    await log.running()
    with pytest.raises(anthropic.BadRequestError, match="running"):
        await client.beta.sessions.update(session, agent={"tools": [TOOL]})  # type: ignore[typeddict-item]
    assert (await client.beta.sessions.update(session, title="at work")).title == "at work"
    await log.idle()
    found = await client.beta.sessions.update(session, agent={"tools": [TOOL]})  # type: ignore[typeddict-item]
    assert [tool.name for tool in found.agent.tools] == ["mine"]  # type: ignore[union-attr]
    told = (await list_events(client, session, types=["session.updated"]))[-1]
    assert told.agent.system == "be kind"
    assert told.title is None
    with pytest.raises(anthropic.BadRequestError, match="bash"):
        await client.beta.sessions.update(session, agent={"tools": [{**TOOL, "name": "bash"}]})  # type: ignore[typeddict-item]
    with pytest.raises(anthropic.BadRequestError, match="vault_ids"):
        await client.beta.sessions.update(session, vault_ids=[])
    with pytest.raises(anthropic.BadRequestError, match="metadata"):
        await client.beta.sessions.update(session, metadata={f"k{n}": "v" for n in range(17)})


async def test_updates_hold_beside_a_harness_that_appends_all_the_time(
    client: AsyncAnthropic, bus: NatsBus, session: str
) -> None:
    log = SessionLog(bus, session)
    await log.running()
    stop = asyncio.Event()

    async def work() -> int:
        said = 0
        while not stop.is_set():
            await log.says(str(said))
            said += 1
        return said

    working = asyncio.create_task(work())
    for n in range(20):
        assert (await client.beta.sessions.update(session, title=str(n), metadata={f"k{n % 3}": str(n)})).title == str(
            n
        )
    stop.set()
    said = await working
    assert said > 0
    found = await list_events(client, session)
    assert [e.title for e in found if e.type == "session.updated"] == [str(n) for n in range(20)]
    assert [e.content[0].text for e in found if e.type == "agent.message"] == [str(n) for n in range(said)]
