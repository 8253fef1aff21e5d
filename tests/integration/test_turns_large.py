"""Bodies that are too large for a commit: pictures from the user and from a tool, long inputs of calls."""

import base64
import os

from anthropic import AsyncAnthropic

from tests.support.conversation import Conversation, results, text
from tests.support.invariants import check_invariants
from tests.support.model import bash, call, said, say
from tests.support.stack import Stack

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def picture(size: int) -> str:
    """A PNG of one pixel with that many random bytes after its end, in base64."""
    return base64.b64encode(PNG + os.urandom(size)).decode()


async def test_a_large_picture_of_the_user_reaches_the_model_whole(shared: Stack, client: AsyncAnthropic) -> None:
    mark = await shared.model.play(say("A picture."), say("Still there."))
    conversation = await Conversation.begin(client)
    data = picture(700_000)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    message = said(mark)
    await conversation.send({**message, "content": [image, *message["content"]]})
    events = await conversation.until_idle()
    await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "and now?"}]})
    events = await conversation.until_idle()
    shown = next(e for e in events if e.type == "user.message")
    assert shown.content[0].source.data == data
    for request in await shared.model.requests(mark):
        assert request.body["messages"][0]["content"][0]["source"]["data"] == data
    await check_invariants(shared, conversation)


async def test_a_large_picture_of_a_tool_reaches_the_model_whole(shared: Stack, client: AsyncAnthropic) -> None:
    small = base64.b64encode(PNG).decode()
    make = f"echo {small} | base64 -d > a.png; head -c 500000 /dev/urandom >> a.png; md5sum < a.png"
    mark = await shared.model.play(bash(make), call("read", file_path="a.png"), say("Seen."))
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    _, read = results(events).values()
    assert read.content[0].type == "image"
    last = (await shared.model.requests(mark))[-1].body["messages"][-1]["content"][0]["content"]
    assert last[0]["source"]["data"] == read.content[0].source.data
    assert len(base64.b64decode(last[0]["source"]["data"])) == 500_000 + len(PNG)
    await check_invariants(shared, conversation)


async def test_a_long_input_of_a_call_arrives_whole(shared: Stack, client: AsyncAnthropic) -> None:
    content = "".join(f"line {n}\n" for n in range(40_000))
    mark = await shared.model.play(
        call("write", file_path="long.txt", content=content), bash("wc -c < long.txt"), say("Ok.")
    )
    conversation = await Conversation.begin(client)
    await conversation.say(mark)
    events = await conversation.until_idle()
    assert text(list(results(events).values())[-1]).strip() == str(len(content))
    use = next(e for e in events if e.type == "agent.tool_use")
    assert use.input["content"] == content
    await check_invariants(shared, conversation)
