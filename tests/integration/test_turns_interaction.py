"""Turns in which the client takes part: confirmations, its own tools, interrupts, messages in between."""

import asyncio
import json
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic, beta_async_tool

from tests.support.conversation import TOOLSET, Conversation, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import bash, call, said, say, texts_of
from tests.support.processes import running
from tests.support.stack import Stack

WEATHER = {
    "type": "custom",
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASKING = {**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}}


def answer(call_id: str, said: str = "sunny", **more: Any) -> Any:
    content = [{"type": "text", "text": said}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, "content": content, **more}


def confirm(call_id: str, result: str = "allow", **more: Any) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": result, **more}


async def waiting(conversation: Conversation) -> list[str]:
    """The calls the session waits for."""
    events = await conversation.until_idle("requires_action")
    return list(events[-1].stop_reason.event_ids)


# --- custom tools


async def test_a_custom_tool_is_answered_by_the_client(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(call("weather", city="Rome"), say("It is {{result:(\\w+)}} there."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(mark)
    ids = await waiting(conversation)
    events = await conversation.events()
    use = next(e for e in events if e.type == "agent.custom_tool_use")
    assert (ids, use.name, use.input) == ([use.id], "weather", {"city": "Rome"})
    await conversation.send(answer(use.id))
    events = await conversation.until_idle()
    assert text(events[-5]) == "It is sunny there."
    after = [e.type for e in events][[e.id for e in events].index(conversation.sent[-1]) :]
    assert after[:4] == [
        "user.custom_tool_result",
        "session.status_running",
        "session.thread_status_running",
        "span.model_request_start",
    ]
    await check_invariants(shared, conversation)


async def test_two_calls_of_the_client_may_be_answered_one_by_one(shared: Stack, client: AsyncAnthropic) -> None:
    both = [{"name": "weather", "input": {"city": c}} for c in ("Rome", "Oslo")]
    mark = await shared.model.play({"tools": both}, say("Both known."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(mark)
    first, second = await waiting(conversation)
    await conversation.send(answer(first, "sunny"))
    assert await waiting(conversation) == [second]
    assert len(await shared.model.requests(mark)) == 1
    await conversation.send(answer(second, "snow", is_error=True))
    await conversation.until_idle()
    last = (await shared.model.requests(mark))[-1].body["messages"][-1]["content"]
    assert [b["type"] for b in last] == ["tool_result", "tool_result"]
    assert [b.get("is_error", False) for b in last] == [False, True]
    await check_invariants(shared, conversation)


async def test_a_second_result_is_never_shown_to_the_model(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(call("weather", city="Rome"), say("Known."), say("Again known."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(mark)
    (use,) = await waiting(conversation)
    await conversation.send(answer(use, "sunny"))
    await conversation.until_idle()
    await conversation.client.beta.sessions.events.send(conversation.id, events=[answer(use, "rain")])
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "and?"}]})
    await conversation.until_idle()
    assert "rain" not in str((await shared.model.requests(mark))[-1].body)
    await check_invariants(shared, conversation)


async def test_results_of_unknown_calls_are_refused(client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client, tools=[WEATHER])
    with pytest.raises(anthropic.BadRequestError):
        await conversation.send(answer("sevt_nobody"))
    assert await conversation.events() == []


async def test_the_tool_runner_of_the_sdk_finishes_by_itself(shared: Stack, client: AsyncAnthropic) -> None:
    asked: list[str] = []

    @beta_async_tool
    async def weather(city: str) -> str:
        """The weather of a city."""
        asked.append(city)
        return "sunny"

    mark = await shared.model.play(call("weather", city="Rome"), say("It is {{result:(\\w+)}} there."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    runner = client.beta.sessions.events.tool_runner(conversation.id, tools=[weather], max_idle=1.0)

    async def work() -> int:
        return len([r async for r in runner])

    working = asyncio.create_task(work())
    await conversation.say(mark)
    assert await asyncio.wait_for(working, 30) == 1
    assert asked == ["Rome"]
    await conversation.until_idle()
    await check_invariants(shared, conversation)


# --- confirmations


async def test_an_allowed_call_runs_and_a_denied_one_does_not(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(journaled("one"), journaled("two"), say("Done."))
    conversation = await Conversation.begin(client, tools=[ASKING])
    await conversation.say(mark)
    (first,) = await waiting(conversation)
    use = (await conversation.events("agent.tool_use"))[0]
    assert (use.id, use.evaluated_permission) == (first, "ask")
    assert not tool_runs(shared, conversation.id)
    await conversation.send(confirm(first))
    (second,) = await waiting(conversation)
    await conversation.send(confirm(second, "deny", deny_message="not today"))
    events = await conversation.until_idle()
    found = results(events)
    assert not found[first].is_error
    assert found[second].is_error
    assert "not today" in text(found[second])
    assert tool_runs(shared, conversation.id) == {"one": 1}
    order = [e.type for e in events][[e.id for e in events].index(conversation.sent[1]) :]
    assert order[:4] == [
        "user.tool_confirmation",
        "session.status_running",
        "session.thread_status_running",
        "agent.tool_result",
    ]
    with pytest.raises(anthropic.BadRequestError):
        await conversation.send(confirm(first))
    await check_invariants(shared, conversation)


async def test_only_what_asks_can_be_confirmed(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(bash("echo a"), say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    use = next(e for e in events if e.type == "agent.tool_use")
    assert use.evaluated_permission == "allow"
    for wrong in (use.id, "sevt_nobody", events[0].id):
        with pytest.raises(anthropic.BadRequestError):
            await conversation.send(confirm(wrong))


async def test_of_two_calls_one_is_confirmed_first(shared: Stack, client: AsyncAnthropic) -> None:
    both = [*journaled("one")["tools"], *journaled("two")["tools"]]
    mark = await shared.model.play({"tools": both}, say("Done."))
    conversation = await Conversation.begin(client, tools=[ASKING])
    await conversation.say(mark)
    first, second = await waiting(conversation)
    await conversation.send(confirm(second))
    assert await waiting(conversation) == [first]
    await conversation.send(confirm(first, "deny"))
    await conversation.until_idle()
    assert tool_runs(shared, conversation.id) == {"two": 1}
    await check_invariants(shared, conversation)


# --- messages in between


async def test_a_message_during_a_tool_call_is_taken_in_the_same_turn(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(journaled("one", "while [ ! -e go ]; do sleep 0.05; done"), say("Both seen."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("agent.tool_use")
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "by the way"}]})
    folder = next((shared.data / "sandbox").rglob(f"{conversation.id}"))
    await _exists(folder / "run-journal")
    (folder / "go").touch()
    events = await conversation.until_idle()
    order = [e.type for e in events]
    assert order.count("session.status_running") == order.count("session.status_idle") == 1
    place = [e.id for e in events].index(conversation.sent[-1])
    assert order.index("agent.tool_result") < place < len(order) - 1 - order[::-1].index("span.model_request_start")
    last = (await shared.model.requests(mark))[-1].body["messages"][-1]["content"]
    assert [b["type"] for b in last] == ["tool_result", "text"]
    assert last[1]["text"] == "by the way"
    await check_invariants(shared, conversation)


async def _exists(path: Any) -> None:
    async def look() -> bool:
        return path.exists()

    await eventually(look, what=str(path))


async def test_a_message_in_mid_generation_is_answered_in_the_same_turn(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("One two three.", gates=[{"name": "mid", "after": 2}]), say("And the other."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await shared.model.reached("mid")
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "one more thing"}]})
    await shared.model.release("mid")
    events = await conversation.until_idle()
    order = [e.type for e in events]
    assert order.count("session.status_idle") == 1
    assert [b.text for e in events if e.type == "agent.message" for b in e.content] == [
        "One two three.",
        "And the other.",
    ]
    assert texts_of((await shared.model.requests(mark))[-1])[-1] == "one more thing"
    await check_invariants(shared, conversation)


# --- interrupts


async def test_an_interrupt_stops_the_model_and_keeps_what_was_said(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("One two three four.", gates=[{"name": "stop", "after": 2}]), say("Never."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await shared.model.reached("stop")
    await conversation.until_events("span.model_request_start")
    await conversation.interrupt()
    events = await conversation.until_idle()
    cut = (await shared.model.requests(mark, ended=1))[0]
    assert cut.closed
    assert [b.text for e in events if e.type == "agent.message" for b in e.content] == ["One two "]
    assert [e.type for e in events][-3:] == ["session.thread_status_idle", "session.usage", "session.status_idle"]
    await conversation.say(await shared.model.play(say("Fresh.")))
    events = await conversation.until_idle()
    assert text(events[-5]) == "Fresh."
    await check_invariants(shared, conversation)


async def test_interrupt_and_message_in_one_request_redirect(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("One two three four.", gates=[{"name": "turn", "after": 2}]))
    other = await shared.model.play(say("The other way."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await shared.model.reached("turn")
    await conversation.send({"type": "user.interrupt"}, said(other))

    async def redirected() -> bool:  # the session is idle for a moment between the interrupt and the new turn
        return any(e.type == "agent.message" and text(e) == "The other way." for e in await conversation.events())

    await eventually(redirected)
    events = await conversation.until_idle()
    assert text(events[-5]) == "The other way."
    assert len(await shared.model.requests(mark)) == 2
    await check_invariants(shared, conversation)


async def test_an_interrupt_stops_a_command_with_all_its_processes(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(journaled("one", "sleep 4567.8 & sleep 4567.8"), say("Never."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await eventually(lambda: running("sleep 4567.8"), what="the command")
    await conversation.interrupt()
    events = await conversation.until_idle(within=10)
    (result,) = results(events).values()
    assert result.is_error
    assert "interrupted" in text(result)
    assert not await running("sleep 4567.8")
    assert len(await shared.model.requests(mark)) == 1
    again = await shared.model.play(bash("echo alive"), say("Yes."))
    await conversation.say(again)
    events = await conversation.until_idle()
    said = text(list(results(events).values())[-1]).splitlines()
    assert said[-1] == "alive"  # before it bash may tell that it has reaped the job that was killed
    await check_invariants(shared, conversation)


async def test_an_interrupt_closes_calls_that_wait_for_the_client(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(call("weather", city="Rome"), say("Never."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(mark)
    (use,) = await waiting(conversation)
    await conversation.interrupt()
    events = await conversation.until_idle()
    found = results(events)
    assert found[use].is_error
    assert len(await shared.model.requests(mark)) == 1
    await conversation.say(await shared.model.play(say("Fine.")))
    await conversation.until_idle()
    await check_invariants(shared, conversation)


async def test_an_interrupt_ends_the_wait_for_a_busy_model(shared: Stack, client: AsyncAnthropic) -> None:
    busy = {"kind": "status", "status": 529, "retry_after": 60, "times": 0}
    mark = await shared.model.play(say("Never.", faults=[busy]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("session.status_rescheduled")
    assert (await client.beta.sessions.retrieve(conversation.id)).status == "rescheduling"
    await conversation.interrupt()
    await conversation.until_idle(within=10)
    assert len(await shared.model.requests(mark)) == 1
    await conversation.say(await shared.model.play(say("Back.")))
    events = await conversation.until_idle(within=10)
    assert text(events[-5]) == "Back."
    await check_invariants(shared, conversation)


async def test_an_interrupt_closes_what_asks_and_what_is_allowed_already(shared: Stack, client: AsyncAnthropic) -> None:
    both = [*journaled("one")["tools"], *journaled("two")["tools"]]
    mark = await shared.model.play({"tools": both}, say("Never."))
    conversation = await Conversation.begin(client, tools=[ASKING])
    await conversation.say(mark)
    first, _ = await waiting(conversation)
    await conversation.send(confirm(first))
    await waiting(conversation)
    await conversation.interrupt()
    events = await conversation.until_idle()
    assert [bool(r.is_error) for r in results(events).values()] == [True, True]
    assert not tool_runs(shared, conversation.id)
    await check_invariants(shared, conversation)


async def test_new_tools_are_offered_from_the_next_turn_on(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("Before."), say("After."))
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(mark)
    await conversation.until_idle()
    more: Any = {"tools": [WEATHER, {**WEATHER, "name": "tides"}]}
    await client.beta.sessions.update(conversation.id, agent=more)
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "and?"}]})
    await conversation.until_idle()
    offered = [[t["name"] for t in r.body["tools"]] for r in await shared.model.requests(mark)]
    assert offered == [["weather"], ["weather", "tides"]]


async def test_an_interrupt_at_rest_does_nothing(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Hello.")))
    before = await conversation.until_idle()
    await conversation.interrupt()
    await conversation.until_events("user.interrupt")
    after = await conversation.events()
    assert after[len(before)].type == "user.interrupt"
    assert not [e for e in after[len(before) :] if e.type.startswith("span.")]
    session = await client.beta.sessions.retrieve(conversation.id)
    assert session.status == "idle"


async def test_what_the_client_sends_is_json_safe(shared: Stack, client: AsyncAnthropic) -> None:
    strange = "a\u2028b \U0001f600 \\u0000 \x7f"
    mark = await shared.model.play(say("Read."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark, strange)
    events = await conversation.until_idle()
    message = next(e for e in events if e.type == "user.message")
    assert strange in text(message)
    assert strange in json.loads(json.dumps(texts_of((await shared.model.requests(mark))[0])))[0]
