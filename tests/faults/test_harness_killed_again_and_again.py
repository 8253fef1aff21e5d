"""Whoever drives the session dies at the same place: after three takeovers the turn is given up, not the session."""

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants
from tests.support.model import say


async def test_the_turn_is_given_up_and_the_next_one_works(start: Start) -> None:
    stack = start()
    mark = await stack.model.play(say("never said", gates=[{"name": "deadly", "after": -1}]))
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await conversation.say(mark)
        for times in range(1, 4):
            await stack.model.reached("deadly", times)
            victim = await stack.driver(conversation.id)
            await stack.replaced(victim, stack.kill(victim))
        events = await conversation.until_idle("retries_exhausted")
        errors = [e for e in events if e.type == "session.error"]
        assert [e.error.retry_status.type for e in errors] == ["exhausted"]
        await conversation.say(await stack.model.play(say("Well again.")))
        await conversation.until_idle()
        await check_invariants(stack, conversation)
    assert len(await stack.model.requests(mark)) == 4
