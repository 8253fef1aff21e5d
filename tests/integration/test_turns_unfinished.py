"""Answers that do not finish a turn: cut off by a limit, paused, too large, or behind a wait that never ends."""

from typing import Any

import pytest
from anthropic import AsyncAnthropic

from tests.support.conversation import TOOLSET, Conversation, results, text
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import bash, say
from tests.support.stack import Stack

ASKING = {**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}}


def messages(events: list[Any]) -> list[str]:
    return [text(e) for e in events if e.type == "agent.message"]


def errors(events: list[Any]) -> list[tuple[str, str]]:
    """Type and retry status of the errors of a history."""
    return [(e.error.type, e.error.retry_status.type) for e in events if e.type == "session.error"]


@pytest.mark.parametrize("stop", ["max_tokens", "pause_turn"])
async def test_a_response_that_was_cut_off_is_continued_in_the_same_turn(
    shared: Stack, client: AsyncAnthropic, stop: str
) -> None:
    mark = await shared.model.play(say("It begins well", stop=stop), say("and ends well."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert messages(events) == ["It begins well", "and ends well."]
    assert not errors(events)
    assert [e.type for e in events].count("session.status_idle") == 1
    await check_invariants(shared, conversation)


async def test_an_answer_that_fills_the_context_window_is_summarised_and_goes_on(
    shared: Stack, client: AsyncAnthropic
) -> None:
    steps = [bash("echo a"), say("Half a", stop="model_context_window_exceeded"), say("The rest.")]
    mark = await shared.model.play(*steps, summary="One command was run.")
    conversation = await Conversation.begin(client)
    await conversation.say(mark, "The task.")
    events = await conversation.until_idle()
    assert [e.type for e in events].count("agent.thread_context_compacted") == 1
    assert not errors(events)
    assert [e.type for e in events].count("session.status_idle") == 1
    assert messages(events)[0] == "Half a"
    assert len(messages(events)) == 2, "the turn went on after the summary"
    await check_invariants(shared, conversation)


async def test_calls_that_are_cut_off_again_and_again_never_run_and_end_the_turn(
    shared: Stack, client: AsyncAnthropic
) -> None:
    cut = {**journaled("never"), "faults": [{"kind": "cut_input", "times": 0}]}
    mark = await shared.model.play({"repeat": 20, **cut})
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("retries_exhausted")
    assert errors(events) == [("tool_use_limit_reached_error", "exhausted")]
    told = next(e for e in events if e.type == "session.error").error.message
    assert "16384 tokens" in told
    assert len(results(events)) == 8
    assert all(r.is_error for r in results(events).values())
    assert not tool_runs(shared, conversation.id)
    await conversation.say(await shared.model.play(say("Better.")))
    assert messages(await conversation.until_idle()) == ["Better."]
    await check_invariants(shared, conversation)


async def test_a_huge_answer_is_cut_and_costs_nothing_but_itself(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("y" * 9_000_000), say("Shorter."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert messages(events)[-1] == "Shorter."
    assert not errors(events)


async def test_a_large_answer_arrives_whole(shared: Stack, client: AsyncAnthropic) -> None:
    told = "z" * 500_000  # as many tokens as the longest answers of models have
    mark = await shared.model.play(say(told))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    assert messages(await conversation.until_idle()) == [told]


async def test_tools_that_are_taken_away_stay_declared_while_the_history_uses_them(
    shared: Stack, client: AsyncAnthropic
) -> None:
    mark = await shared.model.play(bash("echo a"), say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_idle()
    await client.beta.sessions.update(conversation.id, agent={"tools": []})
    mark = await shared.model.play(say("Without tools."))
    await conversation.say(mark)
    assert messages(await conversation.until_idle())[-1] == "Without tools."
    (request,) = await shared.model.requests(mark)
    assert [tool["name"] for tool in request.body["tools"]] == ["bash"]
    assert request.body["tool_choice"] == {"type": "none"}
    await check_invariants(shared, conversation)


@pytest.mark.parametrize("seconds", [9_999_999_999, 1e300])
async def test_an_interrupt_ends_a_wait_that_the_endpoint_asks_for(
    shared: Stack, client: AsyncAnthropic, seconds: float
) -> None:
    fault = {"kind": "status", "status": 429, "retry_after": seconds, "times": 0}
    mark = await shared.model.play(say("Never.", faults=[fault]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    await conversation.until_events("session.status_rescheduled")
    await conversation.interrupt()
    await conversation.until_idle()
    await conversation.say(await shared.model.play(say("Here.")))
    assert messages(await conversation.until_idle()) == ["Here."]
    await check_invariants(shared, conversation)


async def test_a_message_while_an_approval_is_open_is_answered_with_what_is_waited_for(
    shared: Stack, client: AsyncAnthropic
) -> None:
    mark = await shared.model.play(bash("echo a"), say("Done."))
    conversation = await Conversation.begin(client, tools=[ASKING])
    await conversation.say(mark)
    before = await conversation.until_idle("requires_action")
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "And?"}]})
    after = await conversation.until_idle("requires_action")
    assert [e.type for e in after[len(before) :]] == [
        "user.message",
        "session.thread_status_idle",
        "session.usage",
        "session.status_idle",
    ]
    (call,) = after[-1].stop_reason.event_ids
    await conversation.send({"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"})
    assert messages(await conversation.until_idle()) == ["Done."]
    await check_invariants(shared, conversation)
