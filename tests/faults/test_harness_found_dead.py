"""A harness that died is found dead by ping: its session is delivered again before ack_wait ends (rule 21)."""

import json

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import say
from tests.support.stack import Stack


def found_dead(stack: Stack) -> list[dict[str, object]]:
    """What the session service said of harnesses that it found dead."""
    lines = (stack.data / "logs" / "session.log").read_text().splitlines()
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in said if line.get("event") == "harness found dead"]


async def test_a_killed_harness_is_found_dead_and_its_session_goes_on_elsewhere(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(say("Here I am.", gates=[{"name": "midway", "after": 0}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        await stack.model.reached("midway")
        owner = await stack.driver(conversation.id)
        stack.kill(owner)

        async def look() -> bool:
            return bool(found_dead(stack))

        await eventually(look, what="a harness found dead", within=10)
        await stack.model.reached("midway", 2)
        assert await stack.driver(conversation.id) != owner
        await stack.model.release("midway")
        await conversation.until_idle()
        await check_invariants(stack, conversation)
    found = found_dead(stack)
    assert [(str(line["replica"]).rpartition("-")[0], line["sessions"]) for line in found] == [(owner, 1)]
