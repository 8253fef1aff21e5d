"""Deltas while a message is generated, to those who asked for them; the final event is what counts."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.lib.sessions import accumulate_managed_agents_event

from holdfast.bus import events as ev
from holdfast.bus.ids import Key, new_id
from tests.support.conversation import Conversation, text
from tests.support.eventually import eventually
from tests.support.model import bash, said, say
from tests.support.stack import Stack

LONG = " ".join(f"word{n}" for n in range(60))


async def _heard(client: AsyncAnthropic, conversation: Conversation, mark: str, **options: Any) -> list[Any]:
    heard: list[Any] = []
    async with await client.beta.sessions.events.stream(conversation.id, **options) as stream:
        await conversation.say(mark)
        async for event in stream:
            heard.append(event)
            if event.type == "session.status_idle":
                break
    return heard


async def test_deltas_add_up_to_the_message(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play({"thinking": "Hm.", "text": LONG, "delay": 0.002})
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark, event_deltas=["agent.message", "agent.thinking"])
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
    listed = await conversation.types()
    assert not {"event_start", "event_delta"} & set(listed)


async def test_the_sdk_accumulates_the_final_event(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say(LONG, delay=0.002))
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark, event_deltas=["agent.message"])
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
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark)
    assert not [e for e in heard if e.type.startswith("event_")]


async def test_an_unknown_kind_of_delta_is_refused(client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    wrong: Any = ["user.message"]
    with pytest.raises(anthropic.BadRequestError):
        await client.beta.sessions.events.stream(conversation.id, event_deltas=wrong)


async def test_a_stream_opened_late_gets_only_later_events(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Earlier.")))
    earlier = {e.id for e in await conversation.until_idle()}
    heard = await _heard(client, conversation, await shared.model.play(say("Later.")))
    assert not earlier & {e.id for e in heard}
    assert [b.text for e in heard if e.type == "agent.message" for b in e.content] == ["Later."]


# --- send first, then listen, as the examples of the vendor do --------------------------------------------------------


DELTAS: Any = ["agent.message", "agent.thinking"]


async def _until_idle(stream: Any) -> list[Any]:
    heard: list[Any] = []
    async with asyncio.timeout(30):
        async for event in stream:
            heard.append(event)
            if event.type == "session.status_idle":
                break
    return heard


def _preview_of(heard: list[Any], message: Any) -> str:
    return "".join(e.delta.content.text for e in heard if e.type == "event_delta" and e.event_id == message.id)


async def test_a_stream_opened_before_the_first_token_shows_all_deltas(shared: Stack, client: AsyncAnthropic) -> None:
    gate = new_id("gate")
    mark = await shared.model.play(say(LONG, delay=0.002, gates=[{"name": gate, "after": 0}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await shared.model.reached(gate)
    await conversation.until_events(
        "span.model_request_start"
    )  # and has looked, so the stream begins with what is stored from now on
    async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as stream:
        await shared.model.release(gate)
        heard = await _until_idle(stream)
    final = next(e for e in heard if e.type == "agent.message")
    assert "span.model_request_start" not in [e.type for e in heard]
    pieces = [e for e in heard if e.type == "event_delta"]
    assert len(pieces) > 3
    assert text(final) == LONG == _preview_of(heard, final)


@pytest.mark.parametrize("asked", [False, True])
async def test_a_model_that_takes_its_time_to_the_first_token_is_seen_from_it_on(
    shared: Stack, client: AsyncAnthropic, asked: bool
) -> None:
    """The stream is opened at once after the send, or when the model has been asked."""
    mark = await shared.model.play(say(LONG, ttft=1.2, delay=0.002))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    if asked:
        await shared.model.requests(mark, count=1)
    async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as stream:
        heard = await _until_idle(stream)
    final = next(e for e in heard if e.type == "agent.message")
    assert _preview_of(heard, final) == LONG
    order = [e.type for e in heard]
    assert order[0] == "session.status_running"
    assert order.index("span.model_request_start") < order.index("event_start")


async def test_all_that_the_model_said_is_shown_while_it_pauses(shared: Stack, client: AsyncAnthropic) -> None:
    gate = new_id("gate")
    mark = await shared.model.play(say(LONG, gates=[{"name": gate, "after": 40}]))
    conversation = await Conversation.begin(client)
    shown = ""
    async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as stream:
        await conversation.say(mark)
        async for event in stream:
            if event.type == "event_delta":
                shown += event.delta.content.text
                if len(shown) >= 40 * 4 - 8:  # about four characters a token
                    break
        await shared.model.release(gate)
    assert LONG.startswith(shown)


async def test_a_stream_opened_in_a_response_shows_the_message_alone(shared: Stack, client: AsyncAnthropic) -> None:
    gate = new_id("gate")
    mark = await shared.model.play(say(LONG, gates=[{"name": gate, "after": 5}]))
    conversation = await Conversation.begin(client)
    async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as first:
        await conversation.say(mark)
        async for event in first:
            if event.type == "event_delta":
                break
        async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as stream:
            await shared.model.release(gate)
            heard = await _until_idle(stream)
    assert [e.type for e in heard if e.type.startswith("event_")] == []
    assert [text(e) for e in heard if e.type == "agent.message"] == [LONG]


async def test_a_turn_that_ends_before_the_stream_is_opened_is_shown(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    for words in ("One.", "Two."):
        await conversation.say(await shared.model.play(say(words)))

        async def ended(words: str = words) -> bool:
            """Looked at from outside, so that the service does not know that anybody has looked."""
            async with shared.bus() as bus:
                stored = await bus.log.read(Key("default", conversation.id))
            texts = [b for c in stored for e in c.commit.events if isinstance(e, ev.AgentMessage) for b in e.content]
            return texts[-1:] == [{"type": "text", "text": words}] and stored[-1].commit.head.status == "idle"

        await eventually(ended)
        async with await client.beta.sessions.events.stream(conversation.id, event_deltas=DELTAS) as stream:
            heard = await _until_idle(stream)
        assert heard[0].type == "session.status_running"
        assert [e.type for e in heard].count("user.message") == 1
        assert [text(e) for e in heard if e.type == "agent.message"] == [words]
    ids = [e.id for e in await conversation.events()]
    assert [e.id for e in heard] == ids[-len(heard) :]


async def test_the_synchronous_example_ends(shared: Stack, client: AsyncAnthropic) -> None:
    """As the vendor's examples are written: send, open the stream, print until idle."""
    marks = [await shared.model.play(say(LONG, delay=0.002)), await shared.model.play(say("At once."))]
    conversation = await Conversation.begin(client)
    run = shared.run

    def example(mark: str) -> str:
        shown: list[str] = []
        with Anthropic(base_url=run.base_url, api_key=run.api_key, timeout=30) as sync:
            sync.beta.sessions.events.send(conversation.id, events=[said(mark)])  # type: ignore[list-item]
            with sync.beta.sessions.events.stream(conversation.id) as stream:
                for event in stream:
                    if event.type == "agent.message":
                        shown += [block.text for block in event.content if block.type == "text"]
                    elif event.type == "session.status_idle":
                        break
        return "".join(shown)

    assert await asyncio.to_thread(example, marks[0]) == LONG
    assert await asyncio.to_thread(example, marks[1]) == "At once."


async def test_initial_events_count_as_sent(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("At once."))
    conversation = await Conversation.begin(client, initial_events=[said(mark)])
    await shared.model.requests(mark, count=1, ended=1)
    async with await client.beta.sessions.events.stream(conversation.id) as stream:
        heard = await _until_idle(stream)
    assert heard[0].type == "session.status_running"
    assert [text(e) for e in heard if e.type == "agent.message"] == ["At once."]


async def test_a_stream_opened_before_the_send_does_not_show_the_turn_before(
    shared: Stack, client: AsyncAnthropic
) -> None:
    conversation = await Conversation.begin(client)
    for words in ("First.", "Second.", "Third."):
        heard = await _heard(client, conversation, await shared.model.play(say(words)))
        assert [text(e) for e in heard if e.type == "agent.message"] == [words]


async def test_whoever_saw_the_end_by_its_status_is_not_shown_it_again(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Earlier.")))

    async def idle() -> bool:
        return (await client.beta.sessions.retrieve(conversation.id)).status == "idle"

    await eventually(idle)
    heard = await _heard(client, conversation, await shared.model.play(say("Later.")))
    assert [text(e) for e in heard if e.type == "agent.message"] == ["Later."]


# --- the output of running tools -----------------------------------------------------------------------------------


OUTPUT: Any = ["agent.message", "agent.tool_result"]


async def test_a_running_tool_is_seen_to_print(shared: Stack, client: AsyncAnthropic) -> None:
    command = "echo one; sleep 0.4; echo two; sleep 0.4; echo three; exit 3"
    mark = await shared.model.play(bash(command), say("Done."))
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark, event_deltas=OUTPUT)
    use = next(e for e in heard if e.type == "agent.tool_use")
    result = next(e for e in heard if e.type == "agent.tool_result")
    starts = [e for e in heard if e.type == "event_start" and e.event.type == "agent.tool_result"]
    pieces = [e for e in heard if e.type == "event_delta" and e.event_id == use.id]
    assert [e.event.id for e in starts] == [use.id]
    printed = "".join(p.delta.content.text for p in pieces)
    assert printed.startswith("one\n")
    assert text(result).startswith(printed)
    assert all((p.delta.type, p.delta.index, p.delta.content.type) == ("content_delta", 0, "text") for p in pieces)
    order = [heard.index(e) for e in (use, starts[0], *pieces, result)]
    assert order == sorted(order)
    assert not {"event_start", "event_delta"} & set(await conversation.types())


async def test_the_sdk_accumulates_messages_beside_the_output_of_tools(shared: Stack, client: AsyncAnthropic) -> None:
    """Its helper folds every delta into one message, so the deltas of others are left out, as with several messages."""
    mark = await shared.model.play(bash("echo one; sleep 0.4", text="Look:"), say(LONG, delay=0.001))
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark, event_deltas=OUTPUT)
    uses = {e.id for e in heard if e.type == "agent.tool_use"}
    assert "one\n" in [e.delta.content.text for e in heard if e.type == "event_delta" and e.event_id in uses]
    snapshot: Any = None
    for event in heard:
        if event.type != "event_delta" or event.event_id not in uses:
            snapshot = accumulate_managed_agents_event(snapshot, event)
    assert text(snapshot) == LONG


async def test_output_of_tools_is_only_for_those_who_asked(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(bash("echo one; sleep 0.4"), say("Done."))
    conversation = await Conversation.begin(client)
    heard = await _heard(client, conversation, mark, event_deltas=["agent.message", "agent.thinking"])
    assert "agent.tool_result" in {e.type for e in heard}
    assert not [e for e in heard if e.type == "event_start" and e.event.type == "agent.tool_result"]
