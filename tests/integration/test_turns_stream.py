"""Deltas while a message is generated, to those who asked for them; the final event is what counts."""

from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.lib.sessions import accumulate_managed_agents_event

from tests.support.model import say
from tests.support.stack import Stack
from tests.support.talk import Talk, text

LONG = " ".join(f"word{n}" for n in range(60))


async def _heard(client: AsyncAnthropic, talk: Talk, mark: str, **options: Any) -> list[Any]:
    heard: list[Any] = []
    async with await client.beta.sessions.events.stream(talk.id, **options) as stream:
        await talk.say(mark)
        async for event in stream:
            heard.append(event)
            if event.type == "session.status_idle":
                break
    return heard


async def test_deltas_add_up_to_the_message(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play({"thinking": "Hm.", "text": LONG, "delay": 0.002})
    talk = await Talk.begin(client)
    heard = await _heard(client, talk, mark, event_deltas=["agent.message", "agent.thinking"])
    final = next(e for e in heard if e.type == "agent.message")
    starts = {e.event.id: e.event.type for e in heard if e.type == "event_start"}
    assert starts[final.id] == "agent.message"
    assert "agent.thinking" in starts.values()
    pieces = [e for e in heard if e.type == "event_delta"]
    assert len(pieces) > 3
    assert {p.event_id for p in pieces} == {final.id}
    assert text(final).startswith("".join(p.delta.content.text for p in pieces))
    order = [e.type for e in heard]
    assert order.index("span.model_request_start") < order.index("event_start") < order.index("event_delta")
    assert order.index("event_delta") < order.index("agent.message")
    listed = await talk.types()
    assert not {"event_start", "event_delta"} & set(listed)


async def test_the_sdk_accumulates_the_final_event(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say(LONG, delay=0.002))
    talk = await Talk.begin(client)
    heard = await _heard(client, talk, mark, event_deltas=["agent.message"])
    snapshot: Any = None
    grown: list[str] = []
    for event in heard:
        snapshot = accumulate_managed_agents_event(snapshot, event)
        if event.type == "event_delta":
            grown.append(text(snapshot))
    assert all(LONG.startswith(g) for g in grown)
    assert snapshot.to_dict() == next(e for e in heard if e.type == "agent.message").to_dict()


async def test_who_did_not_ask_gets_none(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say(LONG, delay=0.001))
    talk = await Talk.begin(client)
    heard = await _heard(client, talk, mark)
    assert not [e for e in heard if e.type.startswith("event_")]


async def test_an_unknown_kind_of_delta_is_refused(client: AsyncAnthropic) -> None:
    talk = await Talk.begin(client)
    wrong: Any = ["user.message"]
    with pytest.raises(anthropic.BadRequestError):
        await client.beta.sessions.events.stream(talk.id, event_deltas=wrong)


async def test_a_stream_opened_late_gets_only_later_events(shared: Stack, client: AsyncAnthropic) -> None:
    talk = await Talk.begin(client)
    await talk.say(await shared.model.play(say("Earlier.")))
    earlier = {e.id for e in await talk.rests()}
    heard = await _heard(client, talk, await shared.model.play(say("Later.")))
    assert not earlier & {e.id for e in heard}
    assert [b.text for e in heard if e.type == "agent.message" for b in e.content] == ["Later."]
