"""A second harness is forced onto a session that is being driven: only the writer with the claim can write."""

import asyncio
import time

from services.bus.api import Bus, Waiting
from services.bus.ids import Key
from services.harness.claims import Claims
from services.harness.models import Endpoint
from services.harness.models.anthropic import AnthropicModel
from services.harness.settings import HarnessSettings
from tests.faults.conftest import Start
from tests.support.job import REQUESTS, finished, job
from tests.support.stack import key
from tests.support.talk import Talk


class Forged:
    """A delivery that the server never made: the trigger of a claim that somebody else holds."""

    def __init__(self, bus: Bus, key: Key, seq: int) -> None:
        self.key, self.seq, self.count = key, seq, 2
        self._bus = bus

    def waiting(self) -> Waiting:
        raise AssertionError("the second delivery of an input is not read before the claim")

    async def ack(self) -> None:
        """Not ours to acknowledge."""

    async def nak(self, delay: float = 0.0) -> None:
        """Not ours to refuse."""

    async def beat(self) -> None:
        """Nobody listens."""


async def test_the_claim_decides_who_writes(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*job(gates=[{"name": "duel", "after": 3}]))
    async with stack.client() as client, stack.bus("harness") as bus:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await stack.model.reached("duel")
        stored = await bus.head(key(talk.id), leader=True)
        assert stored
        assert stored.commit.head.claim
        model = AnthropicModel(Endpoint(base_url=stack.model.base_url, key="any", silence=30))
        intruder = Claims(bus, model, HarnessSettings(), name="intruder", now=lambda: time.time_ns() // 1000)
        forged = Forged(bus, key(talk.id), stored.commit.head.claim.trigger)
        driving = asyncio.create_task(intruder.handle(forged))
        await stack.model.reached("duel", 2)
        assert await stack.driver(talk.id) == "intruder"
        await stack.model.release("duel")
        await finished(stack, talk, mark, requests=REQUESTS + 1)
        await driving
        await model.close()
