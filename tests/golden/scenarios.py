"""The sessions that are recorded for every release, each driven through the real stack by the official SDK.

Each function takes a running stack and a client, and returns the conversation when its session is at rest.
"""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
from anthropic import AsyncAnthropic

from tests.support.conversation import NARROW_MODELS, TOOLSET, Conversation
from tests.support.eventually import eventually
from tests.support.model import Json, bash, call, said, say
from tests.support.processes import running
from tests.support.stack import Stack

Scenario = Callable[[Stack, AsyncAnthropic], Awaitable[Conversation]]

PNG = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
).decode()
WEATHER: Json = {
    "type": "custom",
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASKING: Json = {**TOOLSET, "default_config": {"permission_policy": {"type": "always_ask"}}}
SLEEP = "sleep 3456.7"


def confirm(call_id: str, result: str, **more: Any) -> Json:
    return {"type": "user.tool_confirmation", "tool_use_id": call_id, "result": result, **more}


def answer(call_id: str, text: str, **more: Any) -> Json:
    content = [{"type": "text", "text": text}]
    return {"type": "user.custom_tool_result", "custom_tool_use_id": call_id, "content": content, **more}


def message(*blocks: Json) -> Json:
    return {"type": "user.message", "content": list(blocks)}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


async def waiting(conversation: Conversation) -> list[str]:
    """The calls for which the session waits."""
    events = await conversation.until_idle("requires_action")
    return list(events[-1].stop_reason.event_ids)


async def plain(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """Two turns of text, with thinking and letters of other scripts."""
    steps = [{"thinking": "They greet me.", "text": "Grüße, 世界!"}, say("And a second answer.")]
    conversation = await Conversation.begin(client, title="A plain session", metadata={"kind": "golden"})
    await conversation.say(await stack.model.play(*steps), "Hello there.")
    await conversation.until_idle()
    await conversation.send(message(text("Go on."), text("Please.")))
    await conversation.until_idle()
    return conversation


async def tools(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """Every built-in tool, two calls in one answer, and a call that fails."""
    both = [*bash("echo one")["tools"], *bash("exit 3")["tools"]]
    steps = [
        call("write", "I write a file.", file_path="notes/a.txt", content="one\ntwo\n"),
        call("read", file_path="/workspace/notes/a.txt"),
        call("edit", file_path="notes/a.txt", old_string="two", new_string="three"),
        call("glob", pattern="**/*.txt"),
        call("grep", pattern="three"),
        {"thinking": "Two at once.", "text": "Now two.", "tools": both},
        say("All done."),
    ]
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(*steps))
    await conversation.until_idle()
    return conversation


async def confirmations(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """A call that is allowed, one that is denied, and a denied tool that the agent does not have."""
    steps = [
        bash("echo allowed"),
        bash("echo denied"),
        {"tools": [*bash("echo a")["tools"], *bash("echo b")["tools"]]},
        say("Over."),
    ]
    conversation = await Conversation.begin(client, tools=[ASKING])
    await conversation.say(await stack.model.play(*steps))
    (first,) = await waiting(conversation)
    await conversation.send(confirm(first, "allow"))
    (second,) = await waiting(conversation)
    await conversation.send(confirm(second, "deny", deny_message="Not this one."))
    third, fourth = await waiting(conversation)
    await conversation.send(confirm(third, "allow"))
    await waiting(conversation)
    await conversation.send(confirm(fourth, "deny"))
    await conversation.until_idle()
    return conversation


async def custom_tools(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """Tools of the client: a result, an error, and a second result that comes too late."""
    both = [{"name": "weather", "input": {"city": city}} for city in ("Rome", "Oslo")]
    conversation = await Conversation.begin(client, tools=[WEATHER])
    await conversation.say(await stack.model.play({"text": "I look.", "tools": both}, say("Known.")))
    first, second = await waiting(conversation)
    await conversation.send(answer(first, "sunny"))
    await waiting(conversation)
    await conversation.send(answer(second, "no service", is_error=True))
    await conversation.until_idle()
    return conversation


async def interrupt_and_redirect(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """A command is interrupted; a response is interrupted and the session is redirected in the same request."""
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(bash(SLEEP), say("Never said.")))
    await eventually(lambda: running(SLEEP), what="the command")
    await conversation.interrupt()
    await conversation.until_idle()
    gate = f"gate-{conversation.id}"
    await conversation.say(
        await stack.model.play(say("One two three four five six.", gates=[{"name": gate, "after": 3}]))
    )
    await stack.model.reached(gate)
    other = await stack.model.play(say("Redirected."))
    await conversation.send({"type": "user.interrupt"}, said(other))
    await stack.model.release(gate)

    async def redirected() -> bool:
        return "Redirected." in str([e.content for e in await conversation.events("agent.message")])

    await eventually(redirected, what="the redirected answer")
    await conversation.until_idle()
    return conversation


async def message_in_between(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """A message that comes while a command runs is taken after its result."""
    wait = "until [ -e go ]; do sleep 0.05; done; echo over"
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(bash("true"), bash(wait), say("Both seen.")))
    await conversation.until_events("agent.tool_use", count=2)
    await conversation.send(message(text("One more thing.")))
    (stack_folder,) = {p for p in (stack.data / "sandbox").rglob(conversation.id) if p.is_dir()}
    workspace = next(
        (p for p in (stack_folder, *stack_folder.rglob("workspace")) if p.name == "workspace"), stack_folder
    )
    (workspace / "go").touch()
    await conversation.until_idle()
    return conversation


async def sandbox_lost(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """The sandbox is killed while a command runs, and the next call gets another one."""
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(bash(SLEEP), bash("echo again"), say("Over.")))
    (command,) = await eventually(lambda: running(SLEEP), what="the command")
    outermost = [process for process in psutil.Process(command).parents() if process.name() == "bwrap"][-1]
    outermost.kill()
    await conversation.until_idle()
    return conversation


async def model_errors(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """The model is overloaded, breaks off in mid-answer, and in another turn is given up."""
    faults = [{"kind": "status", "status": 529, "times": 2}, {"kind": "cut", "after": 2}]
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(say("At last I can answer.", faults=faults)))
    await conversation.until_idle()
    never = say("Never.", faults=[{"kind": "status", "status": 500, "times": 0}])
    await conversation.say(await stack.model.play(never))
    await conversation.until_idle("retries_exhausted")
    await conversation.say(await stack.model.play(say("Better now.")))
    await conversation.until_idle()
    return conversation


async def refusal(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """The model refuses, and answers the next message."""
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play({"text": "I will not.", "stop": "refusal"}))
    await conversation.until_idle("refusal")
    await conversation.say(await stack.model.play(say("This I can do.")))
    await conversation.until_idle()
    return conversation


async def attachments(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """A picture, a message so large that its body is in the object store, and a picture that a tool reads."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    large = text("A long text. " + "All work and no play. " * 7000)
    steps = [bash(f"echo {PNG} | base64 -d > a.png"), call("read", file_path="a.png"), say("Seen.")]
    mark = await stack.model.play(*steps)
    conversation = await Conversation.begin(client)
    await conversation.send(message(picture, large, *said(mark)["content"]))
    await conversation.until_idle()
    return conversation


async def compaction(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """The history is summarised, and a long result of a tool is shortened. Needs NARROW_MODELS."""
    steps = [{"repeat": 6, **bash("seq 1 1200")}, say("All are done.")]
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(*steps, summary="Some steps were made."), "The task.")
    await conversation.until_idle()
    await conversation.send(message(text("And now?")))
    await conversation.until_idle()
    return conversation


async def updated_and_archived(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """Title and metadata are changed, then the session is archived."""
    conversation = await Conversation.begin(client, title="before")
    await conversation.say(await stack.model.play(say("Before the update.")))
    await conversation.until_idle()
    sessions = client.beta.sessions
    await sessions.update(conversation.id, title="after", metadata={"a": "1"})
    await sessions.update(conversation.id, title=None, metadata={"a": None, "b": "2"})
    await conversation.say(await stack.model.play(say("After it.")))
    await conversation.until_idle()
    await sessions.archive(conversation.id)
    return conversation


async def deleted(stack: Stack, client: AsyncAnthropic) -> Conversation:
    """A session that was used and then deleted."""
    conversation = await Conversation.begin(client)
    await conversation.say(await stack.model.play(say("Soon gone.")))
    await conversation.until_idle()
    await client.beta.sessions.delete(conversation.id)
    return conversation


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        plain, tools, confirmations, custom_tools, interrupt_and_redirect, message_in_between, sandbox_lost,
        model_errors, refusal, attachments, compaction, updated_and_archived, deleted,
    )
}  # fmt: skip
"""By name, which is the name of the folder of the history."""


NARROW = {"compaction": NARROW_MODELS}
"""Settings of the stack for scenarios that need others than the default, by name."""
