"""The tools of the agent toolset, as the model and the client see them, in a real sandbox."""

from typing import Any

from anthropic import AsyncAnthropic

from tests.support.conversation import TOOLSET, Conversation, results, text
from tests.support.invariants import check_invariants
from tests.support.model import Json, bash, call, say
from tests.support.stack import Stack


async def _play(stack: Stack, client: AsyncAnthropic, *steps: Json, **session: Any) -> list[Any]:
    """The results of the calls of these steps, one call a step, in order."""
    conversation = await Conversation.begin(client, **session)
    await conversation.say(await stack.model.play(*steps, say("Done.")))
    events = await conversation.until_idle()
    await check_invariants(stack, conversation)
    found = results(events)
    return [found[e.id] for e in events if e.type == "agent.tool_use"]


async def test_write_read_edit_bash(shared: Stack, client: AsyncAnthropic) -> None:
    conversation = await Conversation.begin(client)
    steps = [
        call("write", file_path="notes/a.txt", content="one\ntwo\n"),
        call("read", file_path="/workspace/notes/a.txt"),
        call("edit", file_path="notes/a.txt", old_string="two", new_string="three"),
        bash("cat notes/a.txt"),
        say("Done."),
    ]
    await conversation.say(await shared.model.play(*steps))
    events = await conversation.until_idle()
    found = [text(r) for r in results(events).values()]
    assert "one" in found[1]
    assert found[3] == "one\nthree\n"
    await conversation.say(await shared.model.play(bash("cat notes/a.txt"), say("Still there.")))
    events = await conversation.until_idle()
    assert text(list(results(events).values())[-1]) == "one\nthree\n"
    await check_invariants(shared, conversation)


async def test_the_shell_persists_and_restarts(shared: Stack, client: AsyncAnthropic) -> None:
    steps = [
        bash("mkdir -p deep && cd deep && export WORD=kept"),
        bash('pwd; echo "$WORD"'),
        bash("exit 3"),
        call("bash", restart=True),
        bash('pwd; echo "[$WORD]"'),
        bash("ls /nowhere"),
    ]
    found = await _play(shared, client, *steps)
    assert text(found[0]) == "(no output)"
    assert text(found[1]) == "/workspace/deep\nkept\n"
    assert found[2].is_error
    assert "restart" in text(found[3])
    assert text(found[4]) == "/workspace\n[]\n"
    assert found[5].is_error
    assert "2" in text(found[5])


async def test_a_timeout_kills_only_that_command(shared: Stack, client: AsyncAnthropic) -> None:
    slow = call("bash", command="sleep 30", timeout_ms=300)
    found = await _play(shared, client, bash("echo before > file"), slow, bash("cat file"))
    assert found[1].is_error
    assert text(found[2]) == "before\n"


async def test_parts_of_files_and_ambiguous_edits(shared: Stack, client: AsyncAnthropic) -> None:
    steps = [
        bash("seq 1 10 > numbers; touch -d '1 hour ago' old.txt; touch new.txt"),
        call("read", file_path="numbers", view_range=[3, 4]),
        call("edit", file_path="numbers", old_string="1", new_string="x"),
        call("glob", pattern="*.txt"),
        call("grep", pattern="^7$", path="numbers"),
        call("read", file_path="/etc/passwd"),
    ]
    found = await _play(shared, client, *steps)
    assert "3" in text(found[1])
    assert "5" not in text(found[1])
    assert found[2].is_error
    assert "2" in text(found[2])
    listed = text(found[3])
    assert listed.index("new.txt") < listed.index("old.txt")
    assert "numbers" in text(found[4]) or "7" in text(found[4])
    assert found[5].is_error


async def test_long_output_is_kept_in_a_file(shared: Stack, client: AsyncAnthropic) -> None:
    path = "{{result:(/workspace/[^\\]\\s]+)}}"
    found = await _play(shared, client, bash("seq 1 40000"), bash(f"wc -l < {path}; tail -n 1 {path}"))
    preview = text(found[0])
    assert len(preview) < 100_000
    assert text(found[1]).split() == ["40000", "40000"]


async def test_a_disabled_tool_is_not_offered_and_never_runs(shared: Stack, client: AsyncAnthropic) -> None:
    only_read = {**TOOLSET, "default_config": {"enabled": False}, "configs": [{"name": "read", "enabled": True}]}
    conversation = await Conversation.begin(client, tools=[only_read])
    mark = await shared.model.play(bash("echo x > made"), say("Done."))
    await conversation.say(mark)
    events = await conversation.until_idle()
    (result,) = results(events).values()
    assert result.is_error
    assert next(e for e in events if e.type == "agent.tool_use").evaluated_permission == "deny"
    asked = (await shared.model.requests(mark))[0].body
    assert [t["name"] for t in asked["tools"]] == ["read"]
    assert not list((shared.data / "sandbox").rglob(f"{conversation.id}/made"))
    await check_invariants(shared, conversation)
