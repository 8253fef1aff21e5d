"""A second harness handles a delivery of a claimed session: only the owner of the claim can append."""

import asyncio

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.forged_deliveries import ForgedDelivery, intruder
from tests.support.stack import key
from tests.support.workload import REQUESTS, workload, workload_finished


async def test_only_the_owner_of_the_claim_appends(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*workload(gates=[{"name": "duel", "after": 3}]))
    async with stack.client() as client, stack.bus("harness") as bus, intruder(stack, bus) as dispatcher:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("duel")
        stored = await bus.log.head(key(conversation.id), leader=True)
        assert stored
        assert stored.commit.head.claim
        delivery = ForgedDelivery(key(conversation.id), stored.commit.head.claim.trigger, count=2)
        handling = asyncio.create_task(dispatcher.handle(delivery))
        await stack.model.reached("duel", 2)
        assert await stack.driver(conversation.id) == "intruder"
        await stack.model.release("duel")
        await workload_finished(stack, conversation, mark, requests=REQUESTS + 1)
        await handling
