"""`holdfast explain`: what it tells of a session, and that it tells nothing that was said in one."""

import json
import secrets
from typing import Any

import msgspec
import pytest
from anthropic import AsyncAnthropic

from holdfast.bus.ids import new_id, new_session_id
from holdfast.cli.embedded.explain import UnknownSession, explain_session, find_session
from tests.support.command import holdfast
from tests.support.conversation import MODEL, TOOLSET, Conversation
from tests.support.eventually import eventually
from tests.support.model import bash, call, say
from tests.support.processes import running
from tests.support.stack import Stack


async def explained(stack: Stack, session: str) -> dict[str, Any]:
    """What the command prints with --json, without a process for each look."""
    async with stack.bus() as bus:
        found = await explain_session(bus, await find_session(bus, session, "a0"))
    return msgspec.to_builtins(found)


async def test_time_tokens_turns_and_drivers_of_a_session(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(bash("sleep 1"), call("read", file_path="none"), say("Done.")))
    await conversation.until_idle()
    await conversation.say(await shared.model.play(say("Again.")))
    await conversation.until_idle()
    found = await explained(shared, conversation.id)
    session = await client.beta.sessions.retrieve(conversation.id)
    assert session.usage is not None
    assert (found["tokens"]["input"], found["tokens"]["output"]) == (
        session.usage.input_tokens, session.usage.output_tokens,
    )  # fmt: skip
    assert (found["status"], found["model"], found["requests"]["count"]) == ("idle", MODEL, 4)
    assert found["dollars"] > 0
    assert (found["tools"]["bash"]["count"], found["tools"]["bash"]["failed"]) == (1, 0)
    assert (found["tools"]["read"]["count"], found["tools"]["read"]["failed"]) == (1, 1)
    assert 1.0 <= found["tools"]["bash"]["seconds"] < 15
    assert found["spent"]["tools"] >= 1.0
    assert abs(sum(found["spent"].values()) - (found["now"] - found["created_at"]) / 1e6) < 0.01
    first, second = found["turns"]
    assert (first["stop"], first["requests"], first["calls"]) == ("end_turn", 3, 2)
    assert (second["requests"], second["calls"]) == (1, 0)
    assert 0 <= first["waited"] < 15
    assert first["tokens"]["output"] + second["tokens"]["output"] == found["tokens"]["output"]
    names = {driver["name"].rpartition("-")[0] for driver in found["drivers"]}
    assert names <= {"harness-1", "harness-2"}
    assert set(first["drivers"]) <= {driver["name"] for driver in found["drivers"]}
    assert found["failures"] == []
    assert found["waits_for"] == ["a client: it is idle (end_turn)"]
    short = await holdfast("explain", conversation.id[-8:], "--data", str(shared.data))
    assert short.out.startswith(f"{conversation.id}: idle, "), short
    assert "bash: 1, " in short.out


async def test_it_says_who_owes_the_next_step(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    mark = await shared.model.play(
        bash("sleep 777.7"), say("Later.", gates=[{"name": (gate := new_id("gate")), "after": -1}])
    )
    await conversation.say(mark)
    await eventually(lambda: running("sleep 777.7"), what="the command")
    (tool,) = (await explained(shared, conversation.id))["waits_for"]
    assert tool.startswith("bash sevt_")
    assert " on worker wrk_" in tool
    await conversation.send({"type": "user.interrupt"})
    await conversation.until_idle()
    await conversation.say(await shared.model.play(say("x", gates=[{"name": gate, "after": -1}])))
    await shared.model.reached(gate)
    (model,) = (await explained(shared, conversation.id))["waits_for"]
    assert model.startswith("the model, since ")
    assert "asked by harness-" in model
    await shared.model.release(gate)
    await conversation.until_idle()


CUSTOM = {"type": "custom", "description": "x", "input_schema": {"type": "object", "properties": {}}}


async def test_not_one_word_of_content_is_shown(shared: Stack, client: AsyncAnthropic) -> None:
    """Words that occur nowhere else are in every field that a client, a model or a tool fills."""
    words: list[str] = []

    def word(place: str) -> str:
        words.append(f"canary{place}{secrets.token_hex(6)}")
        return words[-1]

    tools: Any = [
        {**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}},
        {**CUSTOM, "name": (custom := word("tool")), "description": word("description")},
    ]
    agent = await client.beta.agents.create(
        model=MODEL, name=word("agent"), system=word("system"), tools=tools, description=word("about"),
        metadata={word("key"): word("value")},
    )  # fmt: skip
    environment = await client.beta.environments.create(
        name=word("environment"), description=word("environmental"), metadata={word("k"): word("v")}
    )  # fmt: skip
    made = await client.beta.sessions.create(
        agent=agent.id, environment_id=environment.id, title=word("title"), metadata={word("mk"): word("mv")}
    )  # fmt: skip
    conversation = Conversation(client, made.id)
    mark = await shared.model.play(
        bash(f"echo {word('command')}; echo {word('printed')}", text=word("aside"), thinking=word("thought")),
        call(custom, argument=word("argument")),
        bash(f"echo {word('denied')}"),
        say(word("answer")),
    )
    await conversation.say(mark, word("question"))
    for respond in ("allow", "client", "deny"):
        events = await conversation.until_idle("requires_action")
        (call_id,) = events[-1].stop_reason.event_ids
        (waits,) = (await explained(shared, made.id))["waits_for"]
        assert ("the client, to allow or deny bash" if respond != "client" else "custom tool") in waits
        await conversation.send(_answer(call_id, respond, word(respond)))
    await conversation.until_idle()
    text = await holdfast("explain", made.id, "--data", str(shared.data))
    as_json = await holdfast("explain", made.id, "--json", "--data", str(shared.data))
    assert text.code == as_json.code == 0
    log = str(await conversation.events()) + str(await client.beta.agents.retrieve(agent.id)) + str(made)
    assert [w for w in words if w in log], "the words are in the session"
    assert [w for w in words if w in text.out + text.err + as_json.out + as_json.err] == []
    assert made.id in text.out
    assert json.loads(as_json.out)["session"] == made.id
    assert (await explained(shared, made.id))["tools"]["bash"]["count"] == 1


def _answer(call_id: str, how: str, text: str) -> Any:
    match how:
        case "allow":
            return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": "allow"}
        case "deny":
            return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": "deny", "deny_message": text}
        case _:
            content = [{"type": "text", "text": text}]
            return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, "content": content}


async def test_a_session_that_is_not_there_and_one_that_was_deleted(shared: Stack, client: AsyncAnthropic) -> None:
    absent = await holdfast("explain", new_session_id(), "--data", str(shared.data))
    assert (absent.code, "there is no session" in absent.err) == (1, True), absent
    async with shared.bus() as bus:
        with pytest.raises(UnknownSession, match="too short"):
            await find_session(bus, "abc", "a0")
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(say("Done.")))
    await conversation.until_idle()
    await client.beta.sessions.delete(conversation.id)
    found = await explained(shared, conversation.id)
    assert found["waits_for"][0].startswith("nothing: it was deleted ")
