"""Turns of one session go to the replica that knows it; it is killed or frozen between two of them."""

import signal
from collections import Counter

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants
from tests.support.model import say
from tests.support.stack import Stack, key

TURNS = 12


async def test_the_turns_of_a_session_go_to_the_replica_that_knows_it(start: Start) -> None:
    """Each delivery goes to either replica, so without passing on half of the turns would be the other one's."""
    stack = start()
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await _turns(stack, conversation, TURNS)
        drivers = await _drivers(stack, conversation)
        assert drivers.most_common(1)[0][1] >= TURNS - 2, drivers
        await check_invariants(stack, conversation)


async def test_the_replica_that_knows_the_session_is_killed_between_two_turns(start: Start) -> None:
    stack = start()
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await _turns(stack, conversation, 4)
        warm = _name((await _drivers(stack, conversation)).most_common(1)[0][0])
        killed = stack.kill(warm)
        await _turns(stack, conversation, 4)
        await stack.replaced(warm, killed)
        await _turns(stack, conversation, 4)
        await check_invariants(stack, conversation)


async def test_the_replica_that_knows_the_session_is_frozen_between_two_turns(start: Start) -> None:
    """A delivery that was passed on to it is repeated as that of a dead one, and it wakes up to nothing."""
    stack = start()
    async with stack.client() as client:
        conversation = await Conversation.begin(client)
        await _turns(stack, conversation, 4)
        warm = _name((await _drivers(stack, conversation)).most_common(1)[0][0])
        stack.signal(warm, signal.SIGSTOP)
        await _turns(stack, conversation, 3)
        before = await conversation.types()
        stack.signal(warm, signal.SIGCONT)
        await _turns(stack, conversation, 3)
        assert (await conversation.types())[: len(before)] == before
        await check_invariants(stack, conversation)


async def _turns(stack: Stack, conversation: Conversation, count: int) -> None:
    for _ in range(count):
        await conversation.say(await stack.model.play(say("Done.")))
        await conversation.until_idle()


async def _drivers(stack: Stack, conversation: Conversation) -> Counter[str]:
    """How many turns each replica has claimed."""
    async with stack.bus() as bus:
        commits = [stored.commit for stored in await bus.log.read(key(conversation.id))]
    claims = {c.head.claim.id: c.head.claim.by for c in commits if c.head.claim is not None}
    return Counter(claims.values())


def _name(replica: str) -> str:
    """The process of a replica: its name without what is new with each start."""
    return replica.rpartition("-")[0]
