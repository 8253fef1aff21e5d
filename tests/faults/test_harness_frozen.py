"""A harness is frozen for longer than ack_wait: another one takes over, the first one wakes up without its claim."""

import signal

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.workload import REQUESTS, fault_at, workload, workload_finished


async def test_a_thawed_harness_writes_nothing_without_its_claim(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("middle")
        frozen = await stack.driver(conversation.id)
        stack.signal(frozen, signal.SIGSTOP)
        await stack.model.reached("middle", 2)
        assert await stack.driver(conversation.id) != frozen
        await stack.model.release("middle")
        await workload_finished(stack, conversation, mark, requests=REQUESTS + 1)
        before = await conversation.types()
        stack.signal(frozen, signal.SIGCONT)
        await _lost_its_claim(stack, frozen)
        assert await conversation.types() == before
        await workload_finished(stack, conversation, mark, requests=REQUESTS + 1)


async def test_both_harnesses_frozen_while_the_model_responds(start: Start) -> None:
    stack = start(faults=fault_at("in_stream", "stop"))
    mark = await stack.model.play(*workload())
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        first = await stack.stopped("harness-1", "harness-2")
        other = ({"harness-1", "harness-2"} - {first}).pop()
        await stack.stopped(other)
        stack.signal(first, signal.SIGCONT)
        stack.signal(other, signal.SIGCONT)
        await workload_finished(stack, conversation, mark, requests=REQUESTS + 1)


async def _lost_its_claim(stack, name: str) -> None:
    log = stack.data / "logs" / f"{name}.log"

    async def look() -> bool:
        return "claim.lost" in log.read_text()

    await eventually(look, what=f"{name} noticing that its claim is lost")
