"""The order of events in a turn, their times, and the sums in them (C.5 of the wire)."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from anthropic import AsyncAnthropic

from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants
from tests.support.model import bash, said, say, texts_of
from tests.support.stack import Stack

RUNNING = ["session.status_running", "session.thread_status_running"]
REST = ["session.thread_status_idle", "session.usage", "session.status_idle"]
ASKED, ANSWERED = "span.model_request_start", "span.model_request_end"


async def test_a_turn_with_tools_has_the_order_of_the_wire(shared: Stack, client: AsyncAnthropic) -> None:
    both = [*bash("echo a")["tools"], *bash("echo b")["tools"]]
    mark = await shared.model.play({"thinking": "Hm.", "text": "I run two.", "tools": both}, say("Done."))
    conversation = await Conversation.begin(client)
    heard: list[Any] = []
    async with await client.beta.sessions.events.stream(conversation.id) as stream:
        await conversation.say(mark)
        async for event in stream:
            heard.append(event)
            if event.type == "session.status_idle":
                break
    assert [e.type for e in heard] == [
        *RUNNING,
        "user.message",
        ASKED,
        "agent.thinking",
        "agent.message",
        "agent.tool_use",
        "agent.tool_use",
        ANSWERED,
        "agent.tool_result",
        "agent.tool_result",
        ASKED,
        "agent.message",
        ANSWERED,
        *REST,
    ]
    listed = await conversation.events()
    assert [e.to_dict(mode="json") for e in listed] == [e.to_dict(mode="json") for e in heard]
    answer = heard[4:9]
    steps = {b.processed_at - a.processed_at for a, b in pairwise(answer)}
    assert steps == {timedelta(microseconds=1)}
    assert heard[3].id == heard[8].model_request_start_id
    times = [e.processed_at for e in heard]
    assert times == sorted(set(times))
    await check_invariants(shared, conversation)


async def test_the_first_thread_event_names_the_primary_thread(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(bash("echo a"), say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    threads = [e for e in events if e.type.startswith("session.thread_status")]
    assert threads[0].type == "session.thread_status_running"
    assert {e.session_thread_id for e in threads} == {threads[0].session_thread_id}
    assert threads[0].session_thread_id.startswith("sthr_")
    calls = [e.to_dict(mode="json") for e in events if e.type == "agent.tool_use"]
    assert calls[0].get("session_thread_id") is None


async def test_usage_adds_up(shared: Stack, client: AsyncAnthropic) -> None:
    first = {"input_tokens": 10, "output_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 7}
    second = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 110, "cache_creation_input_tokens": 0}
    mark = await shared.model.play({**bash("echo a"), "usage": first}, say("Done.", usage=second))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    spans = [e.model_usage for e in events if e.type == ANSWERED]
    assert [s.input_tokens for s in spans] == [10, 5]
    total = events[-2].usage
    assert events[-2].type == "session.usage"
    assert (total.input_tokens, total.output_tokens, total.cache_read_input_tokens) == (15, 5, 210)
    session = await client.beta.sessions.retrieve(conversation.id)
    assert session.status == "idle"
    assert session.usage.input_tokens == 15
    assert session.usage.cache_creation
    assert session.usage.cache_creation.ephemeral_5m_input_tokens == 7


async def test_the_second_message_sees_the_first(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("Noted."), say("You said {{user:number (\\d+)}}."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark, "Remember the number 4711")
    await conversation.until_idle()
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "Which one?"}]})
    events = await conversation.until_idle()
    assert [b.text for e in events if e.type == "agent.message" for b in e.content] == ["Noted.", "You said 4711."]
    types = [e.type for e in events]
    assert types == [*RUNNING, "user.message", ASKED, "agent.message", ANSWERED, *REST] * 2
    last = (await shared.model.requests(mark))[-1]
    assert texts_of(last)[0].startswith("Remember the number 4711")
    assert texts_of(last, "assistant") == ["Noted."]


async def test_initial_events_start_the_session(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("Here."))
    conversation = await Conversation.begin(client, initial_events=[said(mark)])
    await conversation.until_events("session.status_idle")
    events = await conversation.until_idle()
    assert [e.type for e in events] == [*RUNNING, "user.message", ASKED, "agent.message", ANSWERED, *REST]
    await check_invariants(shared, conversation)


async def test_several_messages_in_one_request_are_taken_together(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("Both heard."))
    conversation = await Conversation.begin(client)
    one = {"type": "user.message", "content": [{"type": "text", "text": "first"}]}
    await conversation.send(one, said(mark))
    events = await conversation.until_idle()
    assert [e.type for e in events][2:5] == ["user.message", "user.message", ASKED]
    assert [e.id for e in events][2:4] == conversation.sent
    assert len(await shared.model.requests(mark)) == 1
