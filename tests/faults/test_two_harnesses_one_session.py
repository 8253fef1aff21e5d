"""A second harness is forced onto a session that is being driven: only the writer with the claim can write."""

import asyncio

from tests.faults.conftest import Start
from tests.support.conversation import Talk
from tests.support.forged_deliveries import Forged, intruder
from tests.support.stack import key
from tests.support.workload import REQUESTS, finished, job


async def test_the_claim_decides_who_writes(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*job(gates=[{"name": "duel", "after": 3}]))
    async with stack.client() as client, stack.bus("harness") as bus, intruder(stack, bus) as claims:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await stack.model.reached("duel")
        stored = await bus.log.head(key(talk.id), leader=True)
        assert stored
        assert stored.commit.head.claim
        forged = Forged(key(talk.id), stored.commit.head.claim.trigger, count=2)
        driving = asyncio.create_task(claims.handle(forged))
        await stack.model.reached("duel", 2)
        assert await stack.driver(talk.id) == "intruder"
        await stack.model.release("duel")
        await finished(stack, talk, mark, requests=REQUESTS + 1)
        await driving
