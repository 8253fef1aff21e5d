"""nats-server dies in the middle of a turn and comes back on the same store: the turn goes on."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import say
from tests.support.processes import running
from tests.support.stack import Stack
from tests.support.workload import REQUESTS, workload, workload_finished

SLEEP = "sleep 6.54321"


async def _nats_dies(stack: Stack) -> None:
    await stack.replaced("nats", stack.kill("nats"))


async def test_while_the_model_answers(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("middle")
        await _nats_dies(stack)
        await stack.model.release("middle")
        # Its delivery may have been given to another, which then asks the model once more.
        await conversation.until_idle()
        asked = len(await stack.model.requests(mark))
        assert asked in (REQUESTS, REQUESTS + 1)
        await workload_finished(stack, conversation, mark, requests=asked)


async def test_while_a_tool_runs(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(journaled("one", SLEEP), journaled("two"), say("Over."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        await _nats_dies(stack)
        events = await conversation.until_idle()
        assert not [r for r in results(events).values() if r.is_error]
        assert tool_runs(stack, conversation.id) == {"one": 1, "two": 1}
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 3


async def test_while_nothing_happens(start: Start) -> None:
    stack = start()
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(await stack.model.play(say("Before.")))
        await conversation.until_idle()
        await _nats_dies(stack)
        await conversation.say(await stack.model.play(say("After.")))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
