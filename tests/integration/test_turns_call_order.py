"""The calls of one answer run in its order, as far as one can notice the other (rule 12), in a real sandbox."""

from typing import Any

import pytest
from anthropic import AsyncAnthropic

from tests.support.conversation import TOOLSET, Conversation, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import Json, bash, call, say, texts_of
from tests.support.stack import Stack

ASKING_FOR_BASH: Json = {
    **TOOLSET,
    "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
}


def at_once(*steps: Json) -> Json:
    """A step that makes the calls of these steps in one answer."""
    return {"tools": [tool for step in steps for tool in step["tools"]]}


def in_order(events: list[Any]) -> list[Any]:
    """The results in the order of their calls."""
    found = results(events)
    return [found[e.id] for e in events if e.type == "agent.tool_use"]


@pytest.mark.parametrize("count", [2, 5, 20])
async def test_many_edits_of_one_file_are_all_made(shared: Stack, client: AsyncAnthropic, count: int) -> None:
    """Case F20."""
    lines = "".join(f"line {n:02}\n" for n in range(count))
    edits = [
        call("edit", file_path="a.txt", old_string=f"line {n:02}", new_string=f"done {n:02}") for n in range(count)
    ]
    steps = [call("write", file_path="a.txt", content=lines), at_once(*edits), bash("cat a.txt"), say("Done.")]
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(*steps))
    found = in_order(await conversation.until_idle())
    assert not [text(r) for r in found if r.is_error]
    assert text(found[-1]) == lines.replace("line", "done")
    await check_invariants(shared, conversation)


async def test_a_file_that_is_made_in_the_same_answer_can_be_changed_read_and_searched(
    shared: Stack, client: AsyncAnthropic
) -> None:
    answer = at_once(
        bash("mkdir -p src"),
        call("write", file_path="src/a.txt", content="one\n"),
        call("read", file_path="src/a.txt"),
        call("grep", pattern="one", path="src"),
        call("edit", file_path="src/a.txt", old_string="one", new_string="two"),
        call("glob", pattern="src/*"),
        bash("cat src/a.txt && rm src/a.txt"),
        call("glob", pattern="src/*"),
    )
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(answer, say("Done.")))
    found = in_order(await conversation.until_idle())
    assert not [text(r) for r in found if r.is_error]
    texts = [text(r) for r in found]
    assert "one" in texts[2]
    assert "a.txt" in texts[3]
    assert "a.txt" in texts[5]
    assert texts[6] == "two\n"
    assert "a.txt" not in texts[7]
    await check_invariants(shared, conversation)


async def test_two_names_of_one_file_and_a_file_that_is_removed_keep_the_order(
    shared: Stack, client: AsyncAnthropic
) -> None:
    answer = at_once(
        call("edit", file_path="a.txt", old_string="one", new_string="two"),
        call("edit", file_path="link", old_string="two", new_string="three"),
        call("read", file_path="/workspace/a.txt"),
        bash("rm a.txt link"),
        call("glob", pattern="*.txt"),
    )
    conversation = await Conversation.begin(client)
    await conversation.say(await shared.model.play(bash("echo one > a.txt; ln -s a.txt link"), answer, say("Done.")))
    found = in_order(await conversation.until_idle())[1:]
    assert not [text(r) for r in found if r.is_error]
    assert (text(found[2]), text(found[4])) == ("three\n", "no matches")
    await check_invariants(shared, conversation)


async def test_a_read_waits_for_the_command_before_it(shared: Stack, client: AsyncAnthropic) -> None:
    wait = bash("mkfifo -m 600 pipe; cat < pipe > other")
    conversation = await Conversation.begin(client)
    mark = await shared.model.play(
        bash("echo before > other"), at_once(wait, call("read", file_path="other")), say("Done.")
    )
    await conversation.say(mark)

    async def look() -> Any:
        return next((shared.data / "sandbox").rglob(f"{conversation.id}/pipe"), None)

    pipe = await eventually(look, what="the command waits")
    pipe.write_text("behind\n")
    found = in_order(await conversation.until_idle())
    assert "behind" in text(found[2])
    last = (await shared.model.requests(mark))[-1]
    assert "behind" in texts_of(last)[-1]
    await check_invariants(shared, conversation)


async def test_a_call_behind_one_that_waits_for_approval_waits_too(shared: Stack, client: AsyncAnthropic) -> None:
    answer = at_once(bash("echo made > a.txt"), call("read", file_path="a.txt"))
    conversation = await Conversation.begin(client, tools=[ASKING_FOR_BASH])
    await conversation.say(await shared.model.play(answer, say("Done.")))
    events = await conversation.until_idle("requires_action")
    first, _ = (e.id for e in events if e.type == "agent.tool_use")
    assert events[-1].stop_reason.event_ids == [first]
    assert not results(events)
    await conversation.send({"type": "user.tool_confirmation", "tool_use_id": first, "result": "allow"})
    found = in_order(await conversation.until_idle())
    assert "made" in text(found[1])
    await check_invariants(shared, conversation)
