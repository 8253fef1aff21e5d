"""The sandbox is killed while a command runs: that call fails, and the next call gets a new sandbox."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import say
from tests.support.processes import descendants, running

SLEEP = "sleep 2345.6"


async def test_a_killed_sandbox_is_one_failed_call(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(journaled("one", SLEEP), journaled("two", "cat run-journal"), say("Over."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        worker = stack.pid("sandbox")
        processes = descendants(worker, "bwrap")
        assert processes
        processes[0].kill()
        events = await conversation.until_idle()
        first, second = results(events).values()
        assert first.is_error
        assert "sandbox was lost" in text(first)
        assert not second.is_error
        assert tool_runs(stack, conversation.id) == {"one": 1, "two": 1}
        assert not await running(SLEEP), "a command outlived its sandbox"
        assert stack.pid("sandbox") == worker
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 3
