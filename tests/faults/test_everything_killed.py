"""All processes are killed at once and the stack is started again on the same folder: sessions go on by themselves."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results, text
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import bash, say
from tests.support.processes import running
from tests.support.workload import REQUESTS, workload, workload_finished

SLEEP = "sleep 3456.7"


async def test_all_killed_while_the_model_responds(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("middle")
        stack.kill_all()
        await stack.model.release("middle")
        stack.start()
        await workload_finished(stack, conversation, mark, requests=REQUESTS + 1)


async def test_all_killed_while_a_command_runs(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(journaled("one", SLEEP), journaled("two", "cat run-journal"), say("Over."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        stack.kill_all()
        stack.start()
        events = await conversation.until_idle()
        first, second = results(events).values()
        assert first.is_error
        assert not second.is_error
        assert tool_runs(stack, conversation.id) == {"one": 1, "two": 1}
        assert not await running(SLEEP), "a command outlived the stack"
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 3


async def test_a_stack_stopped_while_the_session_is_idle(start: Start) -> None:
    stack = start()
    write = bash("echo kept > note && export WORD=lost")
    mark = await stack.model.play(write, say("Written."), bash('cat note; echo "[$WORD]"'), say("Read."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await conversation.until_idle()
        stack.stop()
        stack.start()
        await conversation.send({"type": "user.message", "content": [{"type": "text", "text": "and now?"}]})
        events = await conversation.until_idle()
        kept, word, *note = text(list(results(events).values())[-1]).split("\n", 2)
        assert (kept, word) == ("kept", "[]")
        assert "this is a new sandbox" in note[0], "what is lost is told"
        await check_invariants(stack, conversation)
