"""A harness is frozen past its ack_wait, another takes over and finishes, and the first wakes up with an old answer."""

import signal

from tests.faults.conftest import Start
from tests.support.conversation import Talk
from tests.support.eventually import eventually
from tests.support.workload import REQUESTS, at, finished, job


async def test_it_wakes_up_and_does_nothing(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(*job(gates=[{"name": "middle", "after": 3}]))
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        await stack.model.reached("middle")
        frozen = await stack.driver(talk.id)
        stack.signal(frozen, signal.SIGSTOP)
        await stack.model.reached("middle", 2)
        assert await stack.driver(talk.id) != frozen
        await stack.model.release("middle")
        await finished(stack, talk, mark, requests=REQUESTS + 1)
        before = await talk.types()
        stack.signal(frozen, signal.SIGCONT)
        await _lost_its_claim(stack, frozen)
        assert await talk.types() == before
        await finished(stack, talk, mark, requests=REQUESTS + 1)


async def test_all_are_frozen_in_the_middle_of_an_answer(start: Start) -> None:
    stack = start(faults=at("in_stream", "stop"))
    mark = await stack.model.play(*job())
    async with stack.client() as client:
        talk = await Talk.begin(client)
        await talk.say(mark)
        first = await stack.stopped("harness-1", "harness-2")
        other = ({"harness-1", "harness-2"} - {first}).pop()
        await stack.stopped(other)
        stack.signal(first, signal.SIGCONT)
        stack.signal(other, signal.SIGCONT)
        await finished(stack, talk, mark, requests=REQUESTS + 1)


async def _lost_its_claim(stack, name: str) -> None:
    log = stack.data / "logs" / f"{name}.log"

    async def look() -> bool:
        return "claim.lost" in log.read_text()

    await eventually(look, what=f"{name} noticing that its claim is lost")
