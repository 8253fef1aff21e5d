"""What the model does to a turn: errors of every kind, answers that are no good, refusals, thoughts, the cache."""

from itertools import pairwise
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id
from tests.support.conversation import Conversation, results, text
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import bash, say
from tests.support.stack import Stack

LONG = "a long enough command"


def errors(events: list[Any]) -> list[tuple[str, str]]:
    """Type and retry status of the errors of a history."""
    return [(e.error.type, e.error.retry_status.type) for e in events if e.type == "session.error"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 429, "retry_after": 0.3}, "model_rate_limited_error"),
        ({"kind": "status", "status": 529}, "model_overloaded_error"),
        ({"kind": "status", "status": 500}, "model_request_failed_error"),
        ({"kind": "error", "after": 2, "type": "overloaded_error"}, "model_overloaded_error"),
        ({"kind": "cut", "after": 2}, "model_request_failed_error"),
        ({"kind": "end", "after": 2}, "model_request_failed_error"),
        ({"kind": "not_json"}, "model_request_failed_error"),
    ],
    ids=lambda v: f"{v['kind']}{v.get('status', '')}" if isinstance(v, dict) else None,
)
async def test_a_passing_error_is_told_and_tried_again(
    shared: Stack, client: AsyncAnthropic, fault: Any, kind: str
) -> None:
    mark = await shared.model.play(say("At last it works.", faults=[fault]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert errors(events) == [(kind, "retrying")]
    order = [e.type for e in events]
    assert order[3:12] == [
        "span.model_request_start",
        "span.model_request_end",
        "session.error",
        "session.thread_status_rescheduled",
        "session.status_rescheduled",
        "span.model_request_start",
        "session.status_running",
        "session.thread_status_running",
        "agent.message",
    ]
    ends = [e for e in events if e.type == "span.model_request_end"]
    assert [bool(e.is_error) for e in ends] == [True, False]
    assert [text(e) for e in events if e.type == "agent.message"] == ["At last it works."]
    first, second = await shared.model.requests(mark)
    assert second.received - first.received >= fault.get("retry_after", 0)
    await check_invariants(shared, conversation)


async def test_an_error_that_stays_ends_the_turn_not_the_session(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("Never.", faults=[{"kind": "status", "status": 529, "times": 0}]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("retries_exhausted")
    assert errors(events) == [("model_overloaded_error", "retrying")] * 3 + [("model_overloaded_error", "exhausted")]
    assert len(await shared.model.requests(mark)) == 4
    await conversation.say(await shared.model.play(say("Back.")))
    await conversation.until_idle()
    await check_invariants(shared, conversation)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "model_request_failed_error"), (401, "model_request_failed_error"), (402, "billing_error")],
)
async def test_what_would_fail_again_is_not_tried_again(
    shared: Stack, client: AsyncAnthropic, status: int, kind: str
) -> None:
    fault = {"kind": "status", "status": status, "message": "no such thing"}
    mark = await shared.model.play(say("Never.", faults=[fault]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("retries_exhausted")
    assert errors(events) == [(kind, "exhausted")]
    assert "no such thing" in next(e for e in events if e.type == "session.error").error.message
    await check_invariants(shared, conversation)


@pytest.mark.parametrize("kind", ["bad_input", "list_input", "cut_input"])
async def test_a_spoiled_tool_call_gets_an_error_result(shared: Stack, client: AsyncAnthropic, kind: str) -> None:
    spoiled = {**journaled("never", LONG), "faults": [{"kind": kind}]}
    mark = await shared.model.play(spoiled, journaled("well"), say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    first, second = results(events).values()
    assert first.is_error
    assert not second.is_error
    assert tool_runs(shared, conversation.id) == {"well": 1}
    await check_invariants(shared, conversation)


@pytest.mark.parametrize("kind", ["empty_text", "unknown_event"])
async def test_oddities_are_passed_over(shared: Stack, client: AsyncAnthropic, kind: str) -> None:
    mark = await shared.model.play({"text": "Fine.", **bash("echo a"), "faults": [{"kind": kind}]}, say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert [text(e) for e in events if e.type == "agent.message"] == ["Fine.", "Done."]
    assert not errors(events)
    await check_invariants(shared, conversation)


async def test_poison_in_what_the_model_says_is_taken_out(shared: Stack, client: AsyncAnthropic) -> None:
    steps = [
        {"text": "a\0b", "tools": [{"name": "bash", "input": {"command": "printf 'x\0y\\000z' # \0"}}]},
        say("Done."),
    ]
    mark = await shared.model.play(*steps)
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert "\0" not in str([e.to_dict(mode="json") for e in events])
    assert next(text(e) for e in events if e.type == "agent.message") == "ab"
    await check_invariants(shared, conversation)


async def test_an_unknown_tool_gets_an_error_result(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play({"tools": [{"name": "teleport", "input": {"to": "Mars"}}]}, say("Alas."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    (result,) = results(events).values()
    assert result.is_error
    assert "teleport" in text(result)
    await check_invariants(shared, conversation)


async def test_a_refusal_ends_the_turn_and_runs_nothing(shared: Stack, client: AsyncAnthropic) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    refusal = {"text": "I will not.", **journaled("never"), "stop": "refusal", "stop_details": details}
    mark = await shared.model.play(refusal)
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle("refusal")
    assert events[-1].stop_details.to_dict() == details
    assert not [e for e in events if e.type == "agent.tool_use"]
    assert not tool_runs(shared, conversation.id)
    await conversation.say(await shared.model.play(say("Gladly.")))
    await conversation.until_idle()
    await check_invariants(shared, conversation)


async def test_thoughts_go_back_to_the_model_unchanged(shared: Stack, client: AsyncAnthropic) -> None:
    steps = [
        {"thinking": "First I think: \u00fcber alles \U0001f600.", **bash("echo a")},
        {"thinking": "Then again.", "text": "Hm.", **bash("echo b")},
        say("Done."),
    ]
    mark = await shared.model.play(*steps)
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    last = (await shared.model.requests(mark))[-1].body["messages"]
    turns = [[b["type"] for b in m["content"]] for m in last if m["role"] == "assistant"]
    assert turns == [["thinking", "tool_use"], ["thinking", "text", "tool_use"]]
    assert last[1]["content"][0]["thinking"] == "First I think: \u00fcber alles \U0001f600."
    shown = [e.to_dict(mode="json") for e in events if e.type == "agent.thinking"]
    assert all(set(e) <= {"id", "type", "processed_at"} for e in shown)
    await check_invariants(shared, conversation)


async def test_the_prefix_is_read_from_the_cache(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play({"repeat": 4, **bash("seq 1 300")}, say("Done."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark, "word " * 500)
    events = await conversation.until_idle()
    usage = [e.model_usage for e in events if e.type == "span.model_request_end"]
    for before, after in pairwise(usage):
        assert after.cache_read_input_tokens >= before.cache_read_input_tokens + before.cache_creation_input_tokens - 1
    assert usage[-1].input_tokens < 200
    await check_invariants(shared, conversation)


async def test_a_context_that_is_too_long_for_the_model_is_summarised(shared: Stack, client: AsyncAnthropic) -> None:
    steps = [{"repeat": 6, **journaled("step", "seq 1 1500")}, say("All six are done.")]
    mark = await shared.model.play(*steps, context_tokens=5000, summary="Some steps were made.")
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert [e.type for e in events].count("agent.thread_context_compacted") >= 1
    assert text(events[-5]) == "All six are done."
    assert tool_runs(shared, conversation.id) == {"step": 6}
    assert not errors(events)
    await check_invariants(shared, conversation, allow="too long")


async def test_a_picture_that_the_model_cannot_read_does_not_brick_the_session(
    shared: Stack, client: AsyncAnthropic
) -> None:
    write = bash(r"printf '\211PNG\r\n\032\n no picture' > a.png")
    look = {"tools": [{"name": "read", "input": {"file_path": "a.png"}}]}
    fault = {"kind": "status", "status": 400, "message": "Could not process image"}
    mark = await shared.model.play(write, look, say("It is none.", faults=[fault]))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert errors(events) == [("model_request_failed_error", "retrying")]
    assert text(events[-5]) == "It is none."
    shown = [str(r.body["messages"]).count("'type': 'image'") for r in await shared.model.requests(mark)]
    assert shown == [0, 0, 1, 0]
    await conversation.say(await shared.model.play(say("Still here.")))
    await conversation.until_idle()
    await check_invariants(shared, conversation)


async def test_a_conversation_that_is_too_long_even_to_be_summarised(shared: Stack, client: AsyncAnthropic) -> None:
    many = [{"name": "bash", "input": {"command": "seq 1 16000"}}] * 8
    mark = await shared.model.play(
        {"tools": many}, say("All is said."), context_tokens=180_000, summary="Much was said."
    )
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert text(events[-5]) == "All is said."
    assert not errors(events)
    await check_invariants(shared, conversation, allow="too long")


@pytest.mark.parametrize(
    ("networking", "told"),
    [
        ({"type": "unrestricted"}, "reaches public hosts of the internet by an HTTP proxy"),
        ({"type": "limited"}, "has no network"),
        ({"type": "limited", "allowed_hosts": ["api.example.com"]}, "reaches api.example.com by an HTTP proxy"),
    ],
)
async def test_the_agent_is_told_which_network_its_sandbox_has(
    shared: Stack, client: AsyncAnthropic, networking: Any, told: str
) -> None:
    config: Any = {"type": "cloud", "networking": networking}
    environment = await client.beta.environments.create(name=new_id("test"), config=config)
    kept: Any = environment.config
    assert kept.networking.type == networking["type"]
    agent = await client.beta.agents.create(
        model="claude-opus-4-6", name="told", system="Be kind.", tools=[{"type": "agent_toolset_20260401"}]
    )
    session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
    conversation = Conversation(client, session.id)
    mark = await shared.model.play(bash("echo a"), say("Done."))
    await conversation.say(mark)
    await conversation.until_idle()
    first, second = [r.body["system"] for r in await shared.model.requests(mark)]
    assert first == second
    assert first[0]["text"] == "Be kind."
    assert told in first[1]["text"]
    assert ["cache_control" in block for block in first] == [False, True]
