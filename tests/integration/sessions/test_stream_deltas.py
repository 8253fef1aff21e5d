"""Deltas in event streams: before their event, behind the delta_start of their request, or not at all.

No harness runs here: the test writes the log and publishes the deltas that one would.
"""

from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.lib.sessions._accumulate import accumulate_managed_agents_event

from holdfast.bus import events as ev
from holdfast.bus.ids import new_id
from tests.support.edge import SessionService
from tests.support.event_stream import DELTAS, frames, raw, request_ends, take, tell, text_of
from tests.support.session_log import SessionLog, delta_piece, delta_start


async def test_deltas_come_before_their_event_and_add_up_to_it(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, thought, said = new_id("sevt"), new_id("sevt"), new_id("sevt")
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(thought, "agent.thinking", request=request))
        await tell(log, delta_start(said, request=request), delta_piece(said, "Hello"))
        await tell(log, delta_piece(said, ", "), delta_piece(said, "world"))
        await log.write(
            ev.AgentThinking(id=thought, request=request, block={"signature": "s"}),
            ev.AgentMessage(id=said, request=request, content=[{"type": "text", "text": "Hello, world."}]),
            request_ends(request),
        )
        following, other = new_id("sevt"), new_id("sevt")
        await tell(log, delta_start(other, request=following), delta_piece(other, "next"))
        shown: list[Any] = []
        while not shown or shown[-1].type != "span.model_request_end":
            shown += await take(found, 1)
        await tell(log, delta_piece(said, "late"))
        await log.write(ev.ModelRequestStart(id=following))
        assert [e.type for e in await take(found, 3)] == ["span.model_request_start", "event_start", "event_delta"]
    kinds = [e.type for e in shown]
    assert kinds[:3] == ["span.model_request_start", "event_start", "event_start"]
    assert kinds[-3:] == ["agent.thinking", "agent.message", "span.model_request_end"]
    deltas = [e for e in shown if e.type == "event_delta"]
    assert kinds == [*kinds[:3], *["event_delta"] * len(deltas), *kinds[-3:]]
    assert "".join(e.delta.content.text for e in deltas) == "Hello, world"
    assert {e.event_id for e in deltas} == {said}
    snapshot = None
    for e in shown:
        snapshot = accumulate_managed_agents_event(snapshot, e)
        if e.type == "event_delta":
            assert snapshot
            assert "Hello, world.".startswith(text_of(snapshot))
    assert snapshot
    assert (snapshot.id, text_of(snapshot)) == (said, "Hello, world.")
    assert not [e async for e in client.beta.sessions.events.list(session) if e.type.startswith("event_")]


async def test_deltas_never_overtake_the_start_of_their_request(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        for _ in range(30):
            request, said = new_id("sevt"), new_id("sevt")
            await tell(log, delta_start(said), delta_piece(said, "x"))
            await log.write(ev.ModelRequestStart(id=request))
            await log.write(
                ev.AgentMessage(id=said, request=request, content=[{"type": "text", "text": "x"}]),
                request_ends(request),
            )
            assert [e.type for e in await take(found, 5)] == [
                "span.model_request_start",
                "event_start",
                "event_delta",
                "agent.message",
                "span.model_request_end",
            ]


async def test_without_asking_there_are_no_deltas_and_each_kind_is_asked_for(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, thought, said = new_id("sevt"), new_id("sevt"), new_id("sevt")
    async with (
        await client.beta.sessions.events.stream(session) as plain,
        await client.beta.sessions.events.stream(session, event_deltas=["agent.thinking"]) as thinking,
    ):
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(thought, "agent.thinking"), delta_start(said), delta_piece(said, "x"))
        await log.says("x", event_id=said)
        assert [e.type for e in await take(plain.__aiter__(), 2)] == ["span.model_request_start", "agent.message"]
        found = await take(thinking.__aiter__(), 3)
        assert [e.type for e in found] == ["span.model_request_start", "event_start", "agent.message"]
        assert found[1].event.id == thought


async def test_a_stream_opened_in_a_response_gets_no_deltas_of_it(
    client: AsyncAnthropic, log: SessionLog, session: str
) -> None:
    request, a, b = new_id("sevt"), new_id("sevt"), new_id("sevt")
    await log.write(ev.ModelRequestStart(id=request))
    async with await client.beta.sessions.events.stream(session, event_deltas=DELTAS) as stream:  # type: ignore[arg-type]
        found = stream.__aiter__()
        await tell(log, delta_piece(a, "x"), delta_start(b), delta_piece(b, "y"))
        await log.write(request_ends(request))
        following, c = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=following))
        await tell(log, delta_piece(b, "z"), delta_start(c))
        assert [e.type for e in await take(found, 3)] == [
            "span.model_request_end",
            "span.model_request_start",
            "event_start",
        ]


async def test_a_resumed_stream_shows_history_before_any_delta(
    edge: SessionService, log: SessionLog, session: str
) -> None:
    for n in range(50):
        await log.says(str(n))
    async with raw(edge, session, "?after=0-0&event_deltas[]=agent.message") as answer:
        found = frames(answer)
        assert [f.data["content"][0]["text"] for f in await take(found, 50)] == [str(n) for n in range(50)]
        request, said = new_id("sevt"), new_id("sevt")
        await log.write(ev.ModelRequestStart(id=request))
        await tell(log, delta_start(said), delta_piece(said, "now"))
        assert [f.event for f in await take(found, 3)] == ["span.model_request_start", "event_start", "event_delta"]


@pytest.mark.parametrize("query", ["", "after=0-0", "after=tip"])
async def test_a_stream_opened_before_the_first_delta_of_a_request_shows_them_all(
    edge: SessionService, log: SessionLog, session: str, query: str
) -> None:
    """However it is opened: from now on, from the beginning, behind the last event."""
    request, said = new_id("sevt"), new_id("sevt")
    await log.says("before")
    tip = await log.write(ev.ModelRequestStart(id=request))
    query = query.replace("tip", f"{tip.seq}-0")
    async with raw(edge, session, f"?{query}&event_deltas[]=agent.message") as answer:
        found = frames(answer)
        await tell(log, delta_start(said, request=request), delta_piece(said, "x"), delta_piece(said, "y"))
        kinds = [f.event for f in await take(found, 4 if query == "after=0-0" else 2)]
        assert kinds[-2:] == ["event_start", "event_delta"]
