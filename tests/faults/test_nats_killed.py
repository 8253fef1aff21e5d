"""nats-server is killed during a turn and started again on the same store: the turn goes on."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation, results
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants, journaled, tool_runs
from tests.support.model import say
from tests.support.processes import running
from tests.support.stack import Stack
from tests.support.workload import REQUESTS, workload, workload_finished

SLEEP = "sleep 6.54321"


async def _restart_nats(stack: Stack) -> None:
    await stack.replaced("nats", stack.kill("nats"))


async def test_nats_killed_while_the_model_responds(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("middle")
        await _restart_nats(stack)
        await stack.model.release("middle")
        # The server may deliver the input to the other harness, which then repeats the model request.
        await conversation.until_idle()
        asked = len(await stack.model.requests(mark))
        assert asked in (REQUESTS, REQUESTS + 1)
        await workload_finished(stack, conversation, mark, requests=asked)


async def test_nats_killed_while_a_tool_runs(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(journaled("one", SLEEP), journaled("two"), say("Over."))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await eventually(lambda: running(SLEEP), what="the command")
        await _restart_nats(stack)
        events = await conversation.until_idle()
        assert not [r for r in results(events).values() if r.is_error]
        assert tool_runs(stack, conversation.id) == {"one": 1, "two": 1}
        await check_invariants(stack, conversation)
    # A takeover after the outage may lose a request that was sent beside its append (rule 6).
    assert len(await stack.model.requests(mark)) in (3, 4)


async def test_nats_killed_while_the_session_is_idle(start: Start) -> None:
    stack = start()
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(await stack.model.play(say("Before.")))
        await conversation.until_idle()
        await _restart_nats(stack)
        await conversation.say(await stack.model.play(say("After.")))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
