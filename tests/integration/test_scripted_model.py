"""The scripted model, spoken to with the official SDK as a real model would be."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import AsyncAnthropic

from tests.support.model import ScriptedModel, bash, call, said, say, scripted_model

SCENARIOS = Path(__file__).parents[2] / "services" / "scripted_model" / "scenarios"
BASH: Any = {"name": "bash", "input_schema": {"type": "object", "properties": {"command": {"type": "string"}}}}
ASK: Any = {"model": "claude-opus-4-6", "max_tokens": 100, "tools": [BASH]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedModel]:
    folder = tmp_path_factory.mktemp("model")
    with scripted_model("--scenario", SCENARIOS / "tour.yaml", "--record", folder / "record", log=folder / "log") as m:
        yield m


@pytest.fixture
async def client(model: ScriptedModel) -> Any:
    async with AsyncAnthropic(base_url=model.base_url, api_key="any", max_retries=0) as client:
        yield client


def user(*content: Any) -> Any:
    return {"role": "user", "content": list(content)}


def text(said: str) -> Any:
    return {"type": "text", "text": said}


def result(call_id: str, said: str = "ok", **more: Any) -> Any:
    return {"type": "tool_result", "tool_use_id": call_id, "content": said, **more}


async def test_a_whole_conversation_with_thinking_and_a_tool(client: AsyncAnthropic) -> None:
    messages = [user(text("run echo 42"))]
    async with client.messages.stream(**ASK, messages=messages) as stream:
        first = await stream.get_final_message()
    assert [b.type for b in first.content] == ["thinking", "text", "tool_use"]
    assert first.stop_reason == "tool_use"
    call = first.content[2]
    assert call.type == "tool_use"
    assert call.input == {"command": "echo 42"}
    content: Any = [b.model_dump(exclude_none=True) for b in first.content]
    messages += [{"role": "assistant", "content": content}, user(result(call.id, "42"))]
    second = await client.messages.create(**ASK, messages=messages)
    assert second.content[0].to_dict()["text"] == "It printed 42."
    assert second.stop_reason == "end_turn"


async def test_the_step_depends_on_the_request_alone(client: AsyncAnthropic) -> None:
    messages: Any = [user(text("hello world")), {"role": "assistant", "content": "Hi"}, user(text("and now"))]
    for _ in range(2):
        answer = await client.messages.create(**ASK, messages=messages)
        assert answer.content[0].to_dict()["text"] == "As you said before: world"


async def test_repeats_and_what_follows(client: AsyncAnthropic, model: ScriptedModel) -> None:
    name = await model.play({"repeat": 2, "steps": [say("a{{step}}"), say("b{{step}}")]}, say("end"))
    messages: Any = [user(text(f"[play:{name}]"))]
    heard: list[str] = []
    for _ in range(6):
        answer = await client.messages.create(**ASK, messages=messages)
        heard.append(answer.content[0].to_dict()["text"])
        messages += [{"role": "assistant", "content": heard[-1]}, user(text("go on"))]
    assert heard == ["a0", "b1", "a2", "b3", "end", "Done."]


async def test_a_summary_carries_the_scenario_on(client: AsyncAnthropic, model: ScriptedModel) -> None:
    name = await model.play(say("one"), say("two"), say("three"), summary="We counted.")
    messages: Any = [user(text(f"[play:{name}]")), {"role": "assistant", "content": "one"}]
    summary = await client.messages.create(**ASK, messages=[*messages, user(text("Write a summary of all this."))])
    said = summary.content[0].to_dict()["text"]
    assert said == f"We counted. [play:{name}@1]"
    answer = await client.messages.create(**ASK, messages=[user(text(said), text("go on"))])
    assert answer.content[0].to_dict()["text"] == "two"


async def test_the_cache_reports_what_it_has_seen(client: AsyncAnthropic) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    system: Any = [{**text("Be brief. " * 200), **mark}]
    first = await client.messages.create(**ASK, system=system, messages=[user(text("hello cache"))])
    second = await client.messages.create(**ASK, system=system, messages=[user(text("hello again"))])
    assert first.usage.cache_read_input_tokens == 0
    assert first.usage.cache_creation_input_tokens is not None
    assert first.usage.cache_creation_input_tokens > 500
    assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
    assert second.usage.cache_creation_input_tokens == 0


async def test_a_gate_holds_the_answer_at_a_token(client: AsyncAnthropic, model: ScriptedModel) -> None:
    name = await model.play(say("one two three four", gates=[{"name": "middle", "after": 2}]))
    heard: list[str] = []
    async with client.messages.stream(**ASK, messages=[user(text(f"[play:{name}]"))]) as stream:
        async for piece in stream.text_stream:
            heard.append(piece)
            if len(heard) == 2:
                await model.reached("middle")
                assert (await model.requests(name, count=1))[0].tokens == 2
                await model.release("middle")
    assert "".join(heard) == "one two three four"


async def test_a_caller_that_goes_is_seen_at_once(client: AsyncAnthropic, model: ScriptedModel) -> None:
    name = await model.play(say("one two three", faults=[{"kind": "hang", "after": 1, "times": 0}]))
    async with client.messages.stream(**ASK, messages=[user(text(f"[play:{name}]"))]) as stream:
        async for _ in stream.text_stream:
            break
    left = time.time()
    record = (await model.requests(name, ended=1))[0]
    assert record.closed
    assert record.ended - left < 0.5


async def test_errors_come_for_the_first_attempts_only(client: AsyncAnthropic, model: ScriptedModel) -> None:
    busy = {"kind": "status", "status": 529, "times": 2, "retry_after": 3}
    name = await model.play(say("at last", faults=[busy, {"kind": "cut", "after": 1}]))
    messages = [user(text(f"[play:{name}]"))]
    for _ in range(2):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await client.messages.create(**ASK, messages=messages)
        assert caught.value.status_code == 529
        assert caught.value.response.headers["retry-after"] == "3"
    with pytest.raises(Exception, match="incomplete chunked read"):
        async with client.messages.stream(**ASK, messages=messages) as stream:
            await stream.get_final_message()
    assert (await client.messages.create(**ASK, messages=messages)).content[0].to_dict()["text"] == "at last"
    assert [r.attempt for r in await model.requests(name)] == [1, 2, 3, 4]


async def test_an_error_in_the_stream(client: AsyncAnthropic, model: ScriptedModel) -> None:
    name = await model.play(say("one two", faults=[{"kind": "error", "after": 1}]))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        async with client.messages.stream(**ASK, messages=[user(text(f"[play:{name}]"))]) as stream:
            await stream.get_final_message()


@pytest.mark.parametrize("kind", ["unknown_event", "empty_text"])
async def test_oddities_that_the_sdk_survives(client: AsyncAnthropic, model: ScriptedModel, kind: str) -> None:
    name = await model.play(say("one two", faults=[{"kind": kind}]))
    async with client.messages.stream(**ASK, messages=[user(text(f"[play:{name}]"))]) as stream:
        message = await stream.get_final_message()
    assert message.content[-1].to_dict()["text"] == "one two"


@pytest.mark.parametrize("kind", ["bad_input", "list_input", "cut_input", "not_json", "end"])
async def test_invalid_answers_are_sent_as_they_are(model: ScriptedModel, kind: str) -> None:
    spoiled = {**call("bash", command="echo a long enough command"), "faults": [{"kind": kind, "after": 1}]}
    name = await model.play(spoiled)
    body = {**ASK, "stream": True, "messages": [user(text(f"[play:{name}]"))]}
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=model.base_url, headers=headers) as http:
        answer = await http.post("/v1/messages", json=body)
    assert answer.status_code == 200
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    arguments = "".join(re.findall(r'"partial_json":"(.*?)"}}', answer.text)).replace("\\", "")
    whole = '{"command":"echo a long enough command"}'
    assert (arguments == whole) == (kind == "not_json")
    assert ("max_tokens" in events[-2]) == (kind == "cut_input")
    assert ("message_stop" in events[-1]) == (kind != "end")


USE = {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "forged"}
MARKED = {**text("x"), "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "first message must use the user role"),
        ({"messages": [user(text("x")), {"role": "assistant", "content": "y"}]}, "must end with a user message"),
        ({"messages": [{"role": "system", "content": "x"}]}, "Input should be 'user' or 'assistant'"),
        ({"messages": [user(text(""))]}, "must be non-empty"),
        ({"messages": [user(text(" \n"))]}, "non-whitespace"),
        ({"messages": [user()]}, "non-empty content"),
        ({"messages": [user(text("a\0b"))]}, "NUL"),
        ({"messages": [user(result("toolu_1"))]}, "unexpected `tool_use_id`"),
        ({"messages": [user(text("x")), {"role": "assistant", "content": [USE]}, user(text("y"))]}, "without"),
        (
            {
                "messages": [
                    user(text("x")),
                    {"role": "assistant", "content": [USE]},
                    user(text("y"), result("toolu_1")),
                ]
            },
            "must come first",
        ),
        (
            {
                "messages": [
                    user(text("x")),
                    {"role": "assistant", "content": [USE]},
                    user(result("toolu_1"), result("toolu_1")),
                ]
            },
            "single result",
        ),
        (
            {
                "messages": [
                    user(text("x")),
                    {"role": "assistant", "content": [USE]},
                    user(result("toolu_1", "", is_error=True)),
                ]
            },
            "content cannot be empty",
        ),
        ({"messages": [user(text("x")), {"role": "assistant", "content": [USE, USE]}, user(text("y"))]}, "unique"),
        (
            {"messages": [user(text("x")), {"role": "assistant", "content": [THOUGHT, text("a")]}, user(text("y"))]},
            "Invalid `signature`",
        ),
        (
            {"messages": [user(text("x")), {"role": "assistant", "content": [THOUGHT]}, user(text("y"))]},
            "Invalid `signature`",
        ),
        ({"messages": [user(*[MARKED] * 5)]}, "A maximum of 4 blocks"),
        ({"tools": [BASH, BASH]}, "names must be unique"),
        ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "should match pattern"),
        ({"tools": [{"name": "a", "input_schema": {"type": "string"}}]}, "should be 'object'"),
        ({"max_tokens": 0}, "greater than or equal to 1"),
        ({"extra_body": {"nonsense": 1}}, "Extra inputs"),
    ],
)
async def test_what_the_api_refuses_is_refused(client: AsyncAnthropic, change: Any, why: str) -> None:
    request = {**ASK, "messages": [user(text("hello"))], **change}
    with pytest.raises(anthropic.BadRequestError, match=why):
        await client.messages.create(**request)


async def test_a_lone_surrogate_is_no_json(model: ScriptedModel) -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\\ud800"}]}'
    headers = {"x-api-key": "any", "anthropic-version": "2023-06-01"}
    async with httpx.AsyncClient(base_url=model.base_url, headers=headers) as http:
        answer = await http.post("/v1/messages", content=body)
    assert answer.status_code == 400


async def test_keys_models_and_token_counts(client: AsyncAnthropic, model: ScriptedModel) -> None:
    assert (await client.models.list()).data[0].id == "scripted"
    counted = await client.messages.count_tokens(model="m", messages=[user(text("hello"))])
    assert counted.input_tokens > 5
    async with httpx.AsyncClient(base_url=model.base_url) as http:
        assert (await http.post("/v1/messages", json={})).status_code == 401
        assert (await http.get("/nowhere")).status_code == 404


async def test_gates_can_be_shared_and_counted(model: ScriptedModel, client: AsyncAnthropic) -> None:
    name = await model.play(bash("echo x", gates=[{"name": "door", "after": -1}]))
    await model.release("door", 1)
    answer = await client.messages.create(**ASK, messages=[said_as_message(name)])
    assert answer.stop_reason == "tool_use"
    with pytest.raises(TimeoutError):
        await model.reached("door", 2, within=0.05)


def said_as_message(name: str) -> Any:
    return {"role": "user", "content": said(name)["content"]}
