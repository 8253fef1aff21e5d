"""Limits of a turn: rounds of tool calls, the size of the context, silence of the model.

On a stack with low ones, whose harnesses call the model without the SDK.
"""

from collections.abc import AsyncIterator, Iterator

import pytest
from anthropic import AsyncAnthropic

from tests.support.conversation import NARROW_MODELS, Conversation, text
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import bash, say, texts_of
from tests.support.stack import Stack, stack

LIMITS = {**NARROW_MODELS, "HOLDFAST_MODEL": "messages", "HOLDFAST_ROUNDS": "8", "HOLDFAST_MODEL_SILENCE": "1.5"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("narrow"), environ=LIMITS, harnesses=1) as running:
        yield running


@pytest.fixture
async def client(narrow: Stack) -> AsyncIterator[AsyncAnthropic]:
    async with narrow.client() as client:
        yield client


async def test_the_history_is_summarised_before_it_is_too_long(narrow: Stack, client: AsyncAnthropic) -> None:
    steps = [{"repeat": 7, **journaled("step", "seq 1 1200")}, say("All are done.")]
    mark = await narrow.model.play(*steps, summary="Some steps were made.")
    conversation = await Conversation.begin(client)
    await conversation.say(mark, "The task is as follows.")
    events = await conversation.until_idle()
    order = [e.type for e in events]
    compacted = order.index("agent.thread_context_compacted")
    assert order[compacted - 2 : compacted] == ["span.model_request_start", "span.model_request_end"]
    assert text(events[-5]) == "All are done."
    assert tool_runs(narrow, conversation.id) == {"step": 7}
    assert order.count("agent.tool_use") == order.count("agent.tool_result") == 7
    asked = await narrow.model.requests(mark)
    after = next(r for r in asked if "Some steps were made." in texts_of(r)[0])
    assert len(after.body["messages"]) == 1
    assert all(sum(r.usage[k] for k in r.usage if k != "output_tokens") < 8000 for r in asked)
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "Thanks."}]})
    await conversation.until_idle()
    await check_invariants(narrow, conversation)


async def test_a_turn_has_only_so_many_rounds(narrow: Stack, client: AsyncAnthropic) -> None:
    mark = await narrow.model.play({"repeat": 100, **bash("echo again")})
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("retries_exhausted")
    assert next(e for e in events if e.type == "session.error").error.type == "tool_use_limit_reached_error"
    assert [e.type for e in events].count("agent.tool_use") == 8
    await conversation.say(await narrow.model.play(say("Enough.")))
    await conversation.until_idle()
    await check_invariants(narrow, conversation)


async def test_a_message_that_can_never_fit_ends_the_turn_not_the_session(
    narrow: Stack, client: AsyncAnthropic
) -> None:
    mark = await narrow.model.play(say("Short."), say("Never."), context_tokens=4000)
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_idle()
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "y" * 20_000}]})
    events = await conversation.until_idle("retries_exhausted")
    assert [e.error.retry_status.type for e in events if e.type == "session.error"] == ["exhausted"]
    await conversation.say(await narrow.model.play(say("Better."), context_tokens=4000))
    events = await conversation.until_idle()
    assert text(events[-5]) == "Better."
    await check_invariants(narrow, conversation, allow="too long")


async def test_a_silent_model_is_cut_off_and_asked_again(narrow: Stack, client: AsyncAnthropic) -> None:
    mark = await narrow.model.play(say("One two three.", faults=[{"kind": "hang", "after": 1}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    errors = [e for e in events if e.type == "session.error"]
    assert [e.error.retry_status.type for e in errors] == ["retrying"]
    assert [text(e) for e in events if e.type == "agent.message"] == ["One two three."]
    first = (await narrow.model.requests(mark))[0]
    assert first.closed
    await check_invariants(narrow, conversation)


async def test_a_slow_model_is_not_cut_off(narrow: Stack, client: AsyncAnthropic) -> None:
    mark = await narrow.model.play(say("one two three four five", delay=0.6))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert not [e for e in events if e.type == "session.error"]
    assert len(await narrow.model.requests(mark)) == 1
    await check_invariants(narrow, conversation)
